import { readSync, writeSync } from 'node:fs';
import { ErrnoError, copyFileRangeAt, errno, ficlone, seekData, seekHole } from '@layerfs/linux';

const BUFFER = 1 << 20;
/** What says that the kernel cannot copy between these two by itself. */
const ELSEWHERE: ReadonlySet<number> = new Set([
  errno.EXDEV,
  errno.EINVAL,
  errno.ENOSYS,
  errno.EOPNOTSUPP,
  errno.EPERM,
]);

/**
 * Copies the first `length` bytes of a file into an empty one, holes left out; by sharing blocks where the filesystem can.
 * Where the copy ends is for the caller to set.
 */
export function copyContent(from: number, to: number, length: number, whole: boolean): void {
  if (length === 0) return;
  if (whole && tryClone(from, to)) return;
  for (let at = 0; at < length;) {
    const data = seekData(from, at);
    if (data === undefined || data >= length) return;
    const end = Math.min(seekHole(from, data) ?? length, length);
    copyRange(from, to, data, end);
    at = end;
  }
}

function tryClone(from: number, to: number): boolean {
  try {
    ficlone(to, from);
    return true;
  } catch (error) {
    if (error instanceof ErrnoError) return false;
    throw error;
  }
}

function copyRange(from: number, to: number, start: number, end: number): void {
  let at = start;
  try {
    while (at < end) {
      const count = copyFileRangeAt(from, at, to, at, end - at);
      if (count === 0) break;
      at += count;
    }
  } catch (error) {
    if (!(error instanceof ErrnoError) || !ELSEWHERE.has(error.errno)) throw error;
  }
  if (at < end) copyBytes(from, to, at, end);
}

function copyBytes(from: number, to: number, start: number, end: number): void {
  const buffer = Buffer.allocUnsafe(Math.min(BUFFER, end - start));
  for (let at = start; at < end;) {
    const count = readSync(from, buffer, 0, Math.min(buffer.length, end - at), at);
    // Shorter than it was said to be.
    if (count === 0) throw new ErrnoError(errno.EIO, 'copy-up');
    for (let done = 0; done < count;) done += writeSync(to, buffer, done, count - done, at + done);
    at += count;
  }
}
