import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOCK, tryFlock } from '@layerfs/linux';
import { LayerfsError } from '../core/error.js';

/** A lock on a file, shared between processes; freed by the kernel when its holder dies. */
export interface FileLock {
  release(): void;
}

/**
 * Takes flock(2) on a file, made if absent, without blocking the thread.
 * @param mode 'shared' or 'exclusive'
 * @throws LayerfsError aborted when the signal fires first
 */
export async function lockFile(path: string, mode: 'shared' | 'exclusive', signal?: AbortSignal): Promise<FileLock> {
  const fd = openSync(path, 'a', 0o600);
  try {
    for (let wait = 2; !tryFlock(fd, mode === 'shared' ? LOCK.SH : LOCK.EX); wait = Math.min(wait * 2, 100)) {
      if (signal?.aborted === true) throw new LayerfsError('aborted', 'interrupted while waiting for a lock');
      await sleep(wait);
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  let open = true;
  return {
    release() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/** A folder for what is being written. While its process lives it is locked; nothing in it is ever trusted. */
export interface IngestSession {
  readonly folder: string;
  /** Removes the folder and all that was not moved out of it. */
  end(): void;
  /** Leaves the folder as that of a process that died: the next sweep removes it and what it names. */
  abandon(): void;
}

const LOCK_NAME = 'lock';

/** Starts an ingest session under the store's ingest folder. */
export function openIngest(ingest: string): IngestSession {
  const folder = mkdtempSync(join(ingest, 'session-'));
  const fd = openSync(join(folder, LOCK_NAME), 'w', 0o600);
  if (!tryFlock(fd, LOCK.EX)) throw new LayerfsError('internal', `new ingest folder ${folder} is locked`);
  mkdirSync(join(folder, 'objects'));
  let open = true;
  return {
    folder,
    end() {
      if (!open) return;
      open = false;
      rmSync(folder, { recursive: true, force: true });
      closeSync(fd);
    },
    abandon() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/** Removes ingest folders whose process is gone. Call with the store's exclusive lock. */
export function sweepIngest(ingest: string): void {
  for (const name of readdirSync(ingest)) {
    if (!name.startsWith('session-')) continue;
    const folder = join(ingest, name);
    let fd: number;
    try {
      fd = openSync(join(folder, LOCK_NAME), 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      // Nobody makes one just now: its maker died before it got its lock, or another sweep before it was at its end.
      rmSync(folder, { recursive: true, force: true });
      continue;
    }
    try {
      if (tryFlock(fd, LOCK.EX)) rmSync(folder, { recursive: true, force: true });
    } finally {
      closeSync(fd);
    }
  }
}

/** As {@link lockFile}, but gives undefined at once when somebody else is in the way. */
export function tryLockFile(path: string, mode: 'shared' | 'exclusive'): FileLock | undefined {
  const fd = openSync(path, 'a', 0o600);
  if (!tryFlock(fd, mode === 'shared' ? LOCK.SH : LOCK.EX)) {
    closeSync(fd);
    return undefined;
  }
  let open = true;
  return {
    release() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}
