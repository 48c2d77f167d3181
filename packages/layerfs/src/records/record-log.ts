/** The log of records that one process has for itself. */
import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';

/**
 * Bytes that it has from the beginning: what SQLite writes between two checkpoints (1000 pages, each with a header) and a long
 * transaction. A file that grows has to have its new size written by the filesystem's journal, which takes three times as long.
 */
const LENGTH = 1100 * (4096 + 24);

interface Waiting {
  readonly done: () => void;
  readonly fail: (error: unknown) => void;
}

/** Waits for the disk in place of SQLite, once for all who wait at a moment. */
export class RecordLog {
  readonly #fd: number;
  #waiting: Waiting[] = [];
  #failure: { readonly error: unknown } | undefined;

  /** @param path of a log that SQLite has open. It holds no locks on that, which closing this would take away. */
  constructor(path: string) {
    this.#fd = openSync(path, 'r+');
    try {
      lengthen(this.#fd);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** @throws what waiting for the disk threw: since then nobody knows what is on it */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Ends when all that was written before is on disk. */
  synced(): Promise<void> {
    return new Promise((done, fail) => {
      this.#waiting.push({ done, fail });
      // After all else that came at this moment.
      if (this.#waiting.length === 1) setImmediate(() => this.#sync());
    });
  }

  close(): void {
    this.#sync();
    closeSync(this.#fd);
  }

  #sync(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    try {
      this.check();
      fdatasyncSync(this.#fd);
    } catch (error) {
      this.#failure ??= { error };
      for (const { fail } of waiting) fail(error);
      return;
    }
    for (const { done } of waiting) done();
  }
}

/** Adds zeros, which SQLite takes for the end of the log. Without room for them it grows as it is needed. */
function lengthen(fd: number): void {
  const { size } = fstatSync(fd);
  if (size >= LENGTH) return;
  const zeros = Buffer.alloc(LENGTH - size);
  try {
    for (let at = 0; at < zeros.length;) at += writeSync(fd, zeros, at, zeros.length - at, size + at);
    fdatasyncSync(fd);
  } catch (error) {
    if (!['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    ftruncateSync(fd, size);
  }
}
