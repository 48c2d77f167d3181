import { closeSync, fstatSync, openSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { digestHex, type DiffID } from '../../core/digest.js';
import { checkAborted, isErrno } from '../errors.js';

/** The right to import a layer; whoever else wants it waits. */
export interface LayerLock {
  release(): void;
}

/**
 * Locks a layer against other importers, so that two that want the same one do the work once. Take several in the
 * order of their diffIDs, or two importers may wait for each other.
 * @param onWait called once when somebody else has it
 */
export async function lockLayer(
  ingest: string,
  diffID: DiffID,
  signal: AbortSignal | undefined,
  onWait: () => void,
): Promise<LayerLock> {
  const path = join(ingest, `layer-${digestHex(diffID)}`);
  let waited = false;
  for (let wait = 2; ; wait = Math.min(wait * 2, 50)) {
    checkAborted(signal);
    const fd = openSync(path, 'a', 0o600);
    let keep = false;
    try {
      // The file is removed with the lock: what was opened may not be what the next one opens.
      keep = tryFlock(fd, LOCK.EX) && isSame(fd, path);
    } finally {
      if (!keep) closeSync(fd);
    }
    if (keep) return new HeldLock(fd, path);
    if (!waited) onWait();
    waited = true;
    await sleep(wait);
  }
}

class HeldLock implements LayerLock {
  readonly #fd: number;
  readonly #path: string;
  #held = true;

  constructor(fd: number, path: string) {
    this.#fd = fd;
    this.#path = path;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    try {
      unlinkSync(this.#path);
    } catch (error) {
      // On a disk that takes no changes the file stays, as nobody's lock: a sweep removes it.
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    } finally {
      closeSync(this.#fd);
    }
  }
}

function isSame(fd: number, path: string): boolean {
  try {
    return fstatSync(fd).ino === statSync(path).ino;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}
