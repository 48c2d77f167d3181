/** Room for when the disk is full: what is taken away is recorded first, and that takes room. */
import { randomBytes } from 'node:crypto';
import { statfsSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { isErrno } from './errors.js';
import type { StorePaths } from './paths.js';

/** Bytes that are kept. */
const SIZE = 1 << 20;
/** A disk with less than this is full, or about to be. */
const LOW = 16 << 20;
const BLOCK = 4096;

/** Whether the disk has room for more than what is kept. */
export function hasRoom(paths: StorePaths): boolean {
  return freeBytes(paths) >= LOW;
}

/** Gives the room away where the disk is full. */
export function useReserve(paths: StorePaths): void {
  if (hasRoom(paths)) return;
  try {
    unlinkSync(paths.reserve);
  } catch (error) {
    // It was given away already.
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

/** Takes the room again, or as much as there is of it. A store that cannot be written to has none. */
export function keepReserve(paths: StorePaths): void {
  const kept = statSync(paths.reserve, { throwIfNoEntry: false })?.size ?? 0;
  if (kept >= SIZE || (kept > 0 && !hasRoom(paths))) return;
  const size = Math.min(SIZE, Math.floor(freeBytes(paths) / 2 / BLOCK) * BLOCK);
  try {
    if (kept > 0) unlinkSync(paths.reserve);
    // A file system may keep zeros in no room at all.
    if (size > 0) writeFileSync(paths.reserve, randomBytes(size), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    // Somebody else does it, or there is less room than was told: what was written of it is kept.
    if (!isErrno(error, 'EEXIST', 'ENOENT', 'ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EPERM')) throw error;
  }
}

function freeBytes({ root }: StorePaths): number {
  const { bavail, bsize } = statfsSync(root);
  return bavail * bsize;
}
