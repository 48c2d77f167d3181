import { closeSync, openSync } from 'node:fs';
import { syncfsAsync } from '@layerfs/linux';

/** Between two beginnings of writing out, in milliseconds. */
const INTERVAL = 200;

/**
 * The disk under a store. While an import runs, what it has written goes out in the background: the disk works at the
 * same time as the processors, and little is left to wait for at the end.
 */
export class Disk {
  readonly #fd: number;
  readonly #timer: NodeJS.Timeout;
  #underway: Promise<void> | undefined;

  constructor(root: string) {
    this.#fd = openSync(root, 'r');
    this.#timer = setInterval(() => {
      // What goes wrong here goes wrong again at the end, where somebody waits for it.
      if (this.#underway === undefined) this.#start().catch(() => undefined);
    }, INTERVAL);
  }

  /** Ends the writing out in the background. */
  quiet(): void {
    clearInterval(this.#timer);
  }

  /** All that was written before is durable afterwards. */
  async sync(): Promise<void> {
    // The one under way may have begun before the last write.
    if (this.#underway !== undefined) await this.#underway;
    await this.#start();
  }

  async close(): Promise<void> {
    this.quiet();
    if (this.#underway !== undefined) await this.#underway;
    closeSync(this.#fd);
  }

  #start(): Promise<void> {
    const run = syncfsAsync(this.#fd).finally(() => {
      this.#underway = undefined;
    });
    this.#underway = run;
    return run;
  }
}
