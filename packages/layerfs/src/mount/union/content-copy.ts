import { read, readSync, write, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { ErrnoError, copyFileRangeAt, copyFileRangeLater, errno, ficlone, seekData, seekHole } from '@layerfs/linux';

const readLater = promisify(read);
const writeLater = promisify(write);
const BUFFER = 1 << 20;
/** What is copied at one time by another thread. */
const PIECE = 32 << 20;
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

/** {@link copyContent} of a whole file, a piece at a time in another thread. Both must stay open until it is done. */
export async function copyContentLater(from: number, to: number, length: number): Promise<void> {
  if (tryClone(from, to)) return;
  for (let at = 0; at < length;) {
    const data = seekData(from, at);
    if (data === undefined || data >= length) return;
    const end = Math.min(seekHole(from, data) ?? length, length);
    for (at = data; at < end;) {
      const count = await copyFileRangeLater(from, at, to, at, Math.min(end - at, PIECE));
      if (count > 0) at += count;
      else {
        // It cannot, or not any more: that is for the other way to find out.
        const next = Math.min(end, at + PIECE);
        await copyBytesLater(from, to, at, next);
        at = next;
      }
    }
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

async function copyBytesLater(from: number, to: number, start: number, end: number): Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(BUFFER, end - start));
  for (let at = start; at < end;) {
    const { bytesRead } = await readLater(from, buffer, 0, Math.min(buffer.length, end - at), at);
    if (bytesRead === 0) throw new ErrnoError(errno.EIO, 'copy-up');
    for (let done = 0; done < bytesRead;) {
      done += (await writeLater(to, buffer, done, bytesRead - done, at + done)).bytesWritten;
    }
    at += bytesRead;
  }
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
