import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { LayerfsError } from '../core/error.js';
import { isErrno } from './errors.js';

/** A lock on a file, shared between processes; freed by the kernel when its holder dies. */
export interface FileLock {
  release(): void;
}

/** Longest time between two attempts, in milliseconds. */
const LONGEST_WAIT = 10;

/**
 * Takes flock(2) on a file, made if absent, without blocking the thread.
 * @param mode 'shared' or 'exclusive'
 * @throws LayerfsError aborted when the signal fires first
 */
export async function lockFile(path: string, mode: 'shared' | 'exclusive', signal?: AbortSignal): Promise<FileLock> {
  const fd = openSync(path, 'a', 0o600);
  let had = false;
  try {
    for (let wait = 1; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
      if (signal?.aborted === true) throw new LayerfsError('aborted', 'interrupted while waiting for a lock');
      had = tryFlock(fd, mode === 'shared' ? LOCK.SH : LOCK.EX);
      if (had) return held(fd);
      await sleep(wait);
    }
  } finally {
    if (!had) closeSync(fd);
  }
}

/** As {@link lockFile}, but gives undefined at once when somebody else is in the way. */
export function tryLockFile(path: string, mode: 'shared' | 'exclusive'): FileLock | undefined {
  const fd = openSync(path, 'a', 0o600);
  if (tryFlock(fd, mode === 'shared' ? LOCK.SH : LOCK.EX)) return held(fd);
  closeSync(fd);
  return undefined;
}

/** Whether an open file still has its path: whoever held its lock before may have removed it, and another one made it anew. */
export function isAt(fd: number, path: string): boolean {
  try {
    return fstatSync(fd).ino === statSync(path).ino;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

function held(fd: number): FileLock {
  let open = true;
  return {
    release() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}
