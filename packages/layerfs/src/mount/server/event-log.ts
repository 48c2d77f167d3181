import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { registryFolder } from '../registry/registry.js';

// A damaged store could fill the disk with complaints.
const MAX_LINES = 10_000;

/** What a background server has to say: ROOT/mounts/ID.log, made when there is something. */
export class EventLog {
  readonly #file: string;
  #fd: number | undefined;
  #lines = 0;

  constructor(root: string, id: string) {
    this.#file = join(registryFolder(root), `${id}.log`);
  }

  /** Adds a line with the time. */
  write(text: string): void {
    if (++this.#lines > MAX_LINES) return;
    this.#fd ??= openSync(this.#file, 'a', 0o640);
    writeSync(this.#fd, `${new Date().toISOString()} ${text.replaceAll('\n', ' ')}\n`);
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
