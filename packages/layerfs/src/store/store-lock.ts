import { AsyncLocalStorage } from 'node:async_hooks';
import { LayerfsError } from '../core/error.js';
import { lockFile, tryLockFile, type FileLock } from './locks.js';
import type { StorePaths } from './paths.js';

/** Which locks the code that runs has, directly or through what called it. */
const held = new AsyncLocalStorage<ReadonlySet<StoreLock>>();
/** How many locks the process has. Without any, Node need not tell every promise what `held` is. */
let holding = 0;

/**
 * The store's lock. Held shared for a moment by whoever finds something and takes hold of it, or publishes something and
 * records it; exclusively for a moment by whoever takes something away. Nobody holds it for long work: for that there are
 * sessions (session.ts) and leases.
 */
export class StoreLock {
  readonly #paths: StorePaths;

  constructor(paths: StorePaths) {
    this.#paths = paths;
  }

  /** Runs something while nothing is taken away. Within itself it does not wait again. */
  async shared<T>(signal: AbortSignal | undefined, action: () => Promise<T> | T): Promise<T> {
    if (this.#isHeld) return action();
    // Held while waiting, so that whoever takes things away lets those go first who wait already.
    const gate = await lockFile(this.#paths.gate, 'shared', signal);
    let lock: FileLock;
    try {
      lock = await lockFile(this.#paths.lock, 'shared', signal);
    } finally {
      gate.release();
    }
    return this.#run(lock, action);
  }

  /** Runs something short while nobody else finds, publishes or takes away anything. */
  async exclusive<T>(signal: AbortSignal | undefined, action: () => Promise<T> | T): Promise<T> {
    if (this.#isHeld) throw new LayerfsError('internal', 'the store is held already');
    return this.#run(await this.#alone(signal), action);
  }

  /** As {@link exclusive}, but gives undefined at once when somebody is in the way. */
  async tryExclusive<T>(action: () => Promise<T> | T): Promise<T | undefined> {
    const lock = this.#isHeld ? undefined : tryLockFile(this.#paths.lock, 'exclusive');
    return lock === undefined ? undefined : this.#run(lock, action);
  }

  // Newcomers wait at the gate until this one has had its turn.
  async #alone(signal: AbortSignal | undefined): Promise<FileLock> {
    const gate = await lockFile(this.#paths.gate, 'exclusive', signal);
    try {
      return await lockFile(this.#paths.lock, 'exclusive', signal);
    } finally {
      gate.release();
    }
  }

  get #isHeld(): boolean {
    return held.getStore()?.has(this) === true;
  }

  async #run<T>(lock: FileLock, action: () => Promise<T> | T): Promise<T> {
    holding++;
    try {
      return await held.run(new Set(held.getStore()).add(this), async () => action());
    } finally {
      lock.release();
      if (--holding === 0) held.disable();
    }
  }
}
