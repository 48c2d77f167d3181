import { check, native, nativeAsync } from './library.js';
import { ioctlInt } from './ioctl.js';
import { ErrnoError } from './error.js';
import { errno } from './errno.js';

const copyFileRangePrototype =
  'int64_t copy_file_range(int from, void *fromOffset, int to, void *toOffset, size_t length, unsigned int flags)';
const copyFileRangeFunction = native(copyFileRangePrototype);
const fallocateFunction = native('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
const lseekFunction = native('int64_t lseek(int fd, int64_t offset, int whence)');
const FICLONE = 0x40049409;

/** Flags of fallocate(2). */
export const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 0x10 } as const;

/** ioctl FICLONE: `to` shares all of `from`'s blocks. Throws ErrnoError (EOPNOTSUPP, EXDEV, EINVAL: copy instead). */
export function ficlone(to: number, from: number): void {
  ioctlInt(to, FICLONE, from);
}

/** copy_file_range(2) at the file positions of both. Returns the bytes copied, 0 at the end of `from`. */
export function copyFileRange(from: number, to: number, length: number): number {
  return check(copyFileRangeFunction(from, null, to, null, length, 0), 'copy_file_range');
}

/** copy_file_range(2) between offsets of both; file positions stay. Returns the bytes copied, 0 at the end of `from`. */
export function copyFileRangeAt(
  from: number,
  fromOffset: number,
  to: number,
  toOffset: number,
  length: number,
): number {
  const offsets = new BigInt64Array([BigInt(fromOffset), BigInt(toOffset)]);
  const result = copyFileRangeFunction(from, offsets.subarray(0, 1), to, offsets.subarray(1), length, 0);
  return check(result, 'copy_file_range');
}

/**
 * {@link copyFileRangeAt} in another thread. The descriptors must stay open until it is done. -1: it failed; why is told
 * by doing it again in this thread.
 */
export function copyFileRangeLater(
  from: number,
  fromOffset: number,
  to: number,
  toOffset: number,
  length: number,
): Promise<number> {
  const offsets = [new BigInt64Array([BigInt(fromOffset)]), new BigInt64Array([BigInt(toOffset)])];
  return nativeAsync(copyFileRangePrototype)(from, offsets[0], to, offsets[1], length, 0);
}

/** fallocate(2) with {@link FALLOC} flags. */
export function fallocate(fd: number, mode: number, offset: number, length: number): void {
  check(fallocateFunction(fd, mode, offset, length), 'fallocate');
}

function seek(fd: number, offset: number, whence: number): number | undefined {
  try {
    return check(lseekFunction(fd, offset, whence), 'lseek');
  } catch (error) {
    if (error instanceof ErrnoError && error.errno === errno.ENXIO) return undefined;
    throw error;
  }
}

/** Where the next data at or behind `offset` begins; undefined when only holes follow. */
export function seekData(fd: number, offset: number): number | undefined {
  return seek(fd, offset, 3);
}

/** Where the next hole at or behind `offset` begins (the end of the file counts as one). */
export function seekHole(fd: number, offset: number): number | undefined {
  return seek(fd, offset, 4);
}

/** The length of a regular file, without the rest that stat would fetch; moves the file position. Throws ErrnoError. */
export function fileSize(fd: number): number {
  return check(lseekFunction(fd, 0, 2), 'lseek');
}
