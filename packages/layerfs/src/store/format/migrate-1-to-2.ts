/**
 * Version 1 to 2. Version 2 has other locks (`lock` is a folder, so that a program of version 1 that comes late cannot take
 * the lock it knows), records when images were last used, and leases. The rest is as it was.
 */
import { closeSync, mkdirSync, openSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { hasRecordLock } from '@layerfs/linux/lock';
import { open } from 'lmdb';
import { isErrno } from '../errors.js';
import { tryLockFile, type FileLock } from '../locks.js';
import type { StorePaths } from '../paths.js';

export async function migrate1to2(paths: StorePaths): Promise<boolean> {
  const lock = lockOfVersion1(paths);
  if (lock === undefined) return false;
  try {
    const env = open({ path: paths.meta, maxDbs: 16, overlappingSync: false });
    try {
      const now = Date.now();
      // When they were last used is not known: whatever removes unused images shall count from today.
      env.transactionSync(() => {
        const used = env.openDB<number, string>('used', { encoding: 'json' });
        for (const digest of env.openDB<unknown, string>('images', { encoding: 'json' }).getKeys()) {
          if (used.get(digest) === undefined) used.putSync(digest, now);
        }
      });
    } finally {
      await env.close();
    }
    if (statSync(paths.locks, { throwIfNoEntry: false })?.isFile() === true) unlinkSync(paths.locks);
    mkdirSync(paths.locks, { recursive: true, mode: 0o700 });
    return true;
  } finally {
    lock.release();
  }
}

/** The lock of version 1, exclusively; undefined while the store is in use. */
function lockOfVersion1(paths: StorePaths): FileLock | undefined {
  // Interrupted before: it is a folder by now, and no program of version 1 can do anything.
  if (statSync(paths.locks, { throwIfNoEntry: false })?.isDirectory() === true) return { release: () => undefined };
  const lock = tryLockFile(paths.locks, 'exclusive');
  if (lock !== undefined && !isOpen(paths)) return lock;
  lock?.release();
  return undefined;
}

/** Whoever has the records open, has a record lock on LMDB's own lock file. */
function isOpen({ meta }: StorePaths): boolean {
  let fd: number;
  try {
    fd = openSync(join(meta, 'lock.mdb'), 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
  try {
    return hasRecordLock(fd);
  } finally {
    closeSync(fd);
  }
}
