/** What operations on open files do. */
import * as fs from 'node:fs';
import {
  AT,
  AT_FDCWD,
  FALLOC,
  copyFileRange,
  fallocate,
  fileSize,
  linkat,
  openat,
  seekData,
  seekHole,
  statx,
} from '@layerfs/linux';
import { describeBytes, describeDirent, describeStat } from './describe.js';
import { readOpenFolder, seekTo } from './native.js';
import type { Handlers } from './execute.js';
import { MAX_LENGTH, bytes, type Side } from './side.js';

/** Modes of fallocate that sequences use. */
export const FALLOCATE_MODES = [
  0,
  FALLOC.KEEP_SIZE,
  FALLOC.KEEP_SIZE | FALLOC.PUNCH_HOLE,
  FALLOC.ZERO_RANGE,
  FALLOC.ZERO_RANGE | FALLOC.KEEP_SIZE,
] as const;

export function read(side: Side, fd: number, length: number, offset: number | null): string {
  const n = fs.readSync(fd, side.buffer, 0, Math.min(length, MAX_LENGTH), offset);
  return `ok ${describeBytes(side.buffer.subarray(0, n))}`;
}

/** Writes a pattern; at the file's position when `offset` is null. */
export function write(fd: number, length: number, fill: number, offset: number | null): string {
  const data = Buffer.alloc(length, Buffer.from([fill, fill ^ 0x5a, 0x31, (fill + 7) & 0xff, 0]));
  return `ok ${String(fs.writeSync(fd, data, 0, length, offset))}`;
}

export function list(fd: number): string {
  return `ok ${readOpenFolder(fd).map(describeDirent).toSorted().join(' ')}`;
}

/**
 * Where holes are is the filesystem's own business. What must hold: behind the end is ENXIO; what is skipped when looking for
 * data is zeros. Puts the position where it is the same on all filesystems.
 */
function seek(side: Side, fd: number, what: 'data' | 'hole', offset: number): string {
  // Positions in folders are the filesystem's own business altogether.
  if (fs.fstatSync(fd).isDirectory()) return 'a folder';
  const found = what === 'data' ? seekData(fd, offset) : seekHole(fd, offset);
  const size = fileSize(fd);
  seekTo(fd, offset);
  if (offset >= size) return found === undefined ? 'ENXIO' : 'found something behind the end';
  if (what === 'hole') return found !== undefined && found >= offset && found <= size ? 'ok' : 'no plausible hole';
  const end = found ?? size;
  if (end < offset || end > size) return 'no plausible data';
  let n: number;
  try {
    n = fs.readSync(fd, side.buffer, 0, Math.min(end - offset, MAX_LENGTH), offset);
  } catch (error) {
    // Open for writing only: what was skipped cannot be looked at.
    if ((error as NodeJS.ErrnoException).code === 'EBADF') return 'ok';
    throw error;
  }
  return side.buffer.subarray(0, n).every((byte) => byte === 0) ? 'ok' : 'data in a hole';
}

export const ON_DESCRIPTORS = {
  open: (side, { slot, path, flags, mode }) => side.keep(slot, openat(AT_FDCWD, side.path(path), flags, mode)),
  openat: (side, { slot, folder, path, flags, mode }) =>
    side.keep(slot, openat(side.fd(folder), bytes(path), flags, mode)),
  linkfd: (side, { slot, path }) =>
    linkat(AT_FDCWD, `/proc/self/fd/${String(side.fd(slot))}`, AT_FDCWD, side.path(path), AT.SYMLINK_FOLLOW),
  close: (side, { slot }) => side.drop(slot),
  read: (side, { slot, length }) => read(side, side.fd(slot), length, null),
  pread: (side, { slot, length, offset }) => read(side, side.fd(slot), length, offset),
  write: (side, { slot, length, fill }) => write(side.fd(slot), length, fill, null),
  pwrite: (side, { slot, length, fill, offset }) => write(side.fd(slot), length, fill, offset),
  ftruncate: (side, { slot, size }) => fs.ftruncateSync(side.fd(slot), size),
  fallocate: (side, { slot, mode, offset, length }) => fallocate(side.fd(slot), mode, offset, length),
  seek: (side, { slot, what, offset }) => seek(side, side.fd(slot), what, offset),
  getdents: (side, { slot }) => list(side.fd(slot)),
  copy: (side, { from, to, length }) => `ok ${String(copyFileRange(side.fd(from), side.fd(to), length))}`,
  fsync: (side, { slot, data }) => (data ? fs.fdatasyncSync(side.fd(slot)) : fs.fsyncSync(side.fd(slot))),
  fstat: (side, { slot }) => `ok ${describeStat(statx(side.fd(slot), '', AT.EMPTY_PATH))}`,
  fchmod: (side, { slot, mode }) => fs.fchmodSync(side.fd(slot), mode),
  fchown: (side, { slot, uid, gid }) => fs.fchownSync(side.fd(slot), uid, gid),
} satisfies Partial<Handlers>;
