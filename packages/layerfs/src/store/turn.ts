import { closeSync, openSync } from 'node:fs';
import { flock, LOCK } from '@layerfs/linux';

/**
 * Lets one process at a time open, write to, or close the records of a store. LMDB has locks of its own, but its opening
 * reads which transaction is the last one and says so to all others a moment later, whatever was committed in between: the
 * next writer then overwrites that transaction. And what its closing takes down, somebody may be opening.
 */
export class Turn {
  readonly #fd: number;
  #taken = false;

  /** @param path of a file that is made when it is absent */
  constructor(path: string) {
    this.#fd = openSync(path, 'a', 0o600);
  }

  /** Runs something while nobody else runs anything. Blocks the thread until then. Within itself it does not wait again. */
  take<T>(action: () => T): T {
    if (this.#taken) return action();
    flock(this.#fd, LOCK.EX);
    this.#taken = true;
    try {
      return action();
    } finally {
      this.#taken = false;
      flock(this.#fd, LOCK.UN);
    }
  }

  end(): void {
    closeSync(this.#fd);
  }
}
