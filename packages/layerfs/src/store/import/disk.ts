import { closeSync, openSync } from 'node:fs';
import { syncfsAsync } from '@layerfs/linux';

/** Between two beginnings of writing out, in milliseconds. Not less: syncfs(2) writes out what others wrote, too. */
const INTERVAL = 250;

/**
 * The disk under a store. While an import runs, what it has written goes out in the background: the disk works at the
 * same time as the processors, and little is left to wait for at the end.
 */
export class Disk {
  readonly #fd: number;
  readonly #timer: NodeJS.Timeout;
  #underway: Promise<void> | undefined;
  readonly #failures: unknown[] = [];

  private constructor(root: string) {
    this.#fd = openSync(root, 'r');
    this.#timer = setInterval(() => {
      if (this.#underway === undefined) void this.#start();
    }, INTERVAL);
  }

  /** Writes out what is written while something is done. */
  static async during<T>(root: string, action: (disk: Disk) => Promise<T>): Promise<T> {
    const disk = new Disk(root);
    try {
      return await action(disk);
    } finally {
      await disk.#close();
    }
  }

  /** Ends the writing out in the background. */
  quiet(): void {
    clearInterval(this.#timer);
  }

  /** All that was written before is durable afterwards. @throws ErrnoError when that, or an earlier writing out, failed */
  async sync(): Promise<void> {
    // The one under way may have begun before the last write.
    await this.#underway;
    await this.#start();
    if (this.#failures.length > 0) throw this.#failures[0];
  }

  async #close(): Promise<void> {
    this.quiet();
    await this.#underway;
    closeSync(this.#fd);
  }

  async #start(): Promise<void> {
    this.#underway = this.#run();
    await this.#underway;
    this.#underway = undefined;
  }

  // The kernel tells of a failed write once: it is kept for whoever waits at the end.
  async #run(): Promise<void> {
    try {
      await syncfsAsync(this.#fd);
    } catch (error) {
      this.#failures.push(error);
    }
  }
}
