import { cPath, check, native, nativeSyscall, type Path } from './library.js';
import { AT } from './open.js';

const mkdiratFunction = native('int mkdirat(int dir, const void *path, unsigned int mode)');
const mknodatFunction = native('int mknodat(int dir, const void *path, unsigned int mode, uint64_t dev)');
const symlinkatFunction = native('int symlinkat(const void *target, int dir, const void *path)');
const linkatFunction = native('int linkat(int fromDir, const void *from, int toDir, const void *to, int flags)');
const unlinkatFunction = native('int unlinkat(int dir, const void *path, int flags)');
const readlinkatFunction = native('int64_t readlinkat(int dir, const void *path, void *buffer, size_t size)');
const fchownatFunction = native('int fchownat(int dir, const void *path, uint32_t uid, uint32_t gid, int flags)');
const fchmodatFunction = native('int fchmodat(int dir, const void *path, unsigned int mode, int flags)');
const utimensatFunction = native('int utimensat(int dir, const void *path, const void *times, int flags)');
const futimensFunction = native('int futimens(int fd, const void *times)');
// Not every libc has a wrapper.
const renameat2Function = nativeSyscall(
  process.arch === 'arm64' ? 276 : 316,
  'long fromDir, const void *from, long toDir, const void *to, unsigned long flags',
);

/** Flags of renameat2(2). */
export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;

/** Device number of makedev(3): 64 bits, as mknod takes it. */
export function makedev(major: number, minor: number): bigint {
  const ma = BigInt(major);
  const mi = BigInt(minor);
  return ((ma & 0xfffn) << 8n) | (mi & 0xffn) | ((ma & ~0xfffn) << 32n) | ((mi & ~0xffn) << 12n);
}

/** mkdirat(2). */
export function mkdirat(dir: number, path: Path, mode: number): void {
  check(mkdiratFunction(dir, cPath(path), mode), 'mkdirat', path);
}

/** mknodat(2): `mode` with the file type, `device` from {@link makedev}. */
export function mknodat(dir: number, path: Path, mode: number, device = 0n): void {
  check(mknodatFunction(dir, cPath(path), mode, device), 'mknodat', path);
}

/** symlinkat(2). */
export function symlinkat(target: Path, dir: number, path: Path): void {
  check(symlinkatFunction(cPath(target), dir, cPath(path)), 'symlinkat', path);
}

/** linkat(2). */
export function linkat(fromDir: number, from: Path, toDir: number, to: Path, flags = 0): void {
  check(linkatFunction(fromDir, cPath(from), toDir, cPath(to), flags), 'linkat', to);
}

/** unlinkat(2); flag AT.REMOVEDIR removes a folder. */
export function unlinkat(dir: number, path: Path, flags = 0): void {
  check(unlinkatFunction(dir, cPath(path), flags), 'unlinkat', path);
}

/** readlinkat(2): the target's bytes. */
export function readlinkat(dir: number, path: Path): Uint8Array {
  const buffer = new Uint8Array(4096);
  return buffer.subarray(0, check(readlinkatFunction(dir, cPath(path), buffer, buffer.length), 'readlinkat', path));
}

/** renameat2(2) with {@link RENAME} flags. */
export function renameat2(fromDir: number, from: Path, toDir: number, to: Path, flags = 0): void {
  check(renameat2Function(fromDir, cPath(from), toDir, cPath(to), flags), 'renameat2', to);
}

/** fchownat(2), the link itself by default. */
export function fchownat(dir: number, path: Path, uid: number, gid: number, flags: number = AT.SYMLINK_NOFOLLOW): void {
  check(fchownatFunction(dir, cPath(path), uid, gid, flags), 'fchownat', path);
}

/** fchmodat(2); follows a symbolic link. */
export function fchmodat(dir: number, path: Path, mode: number): void {
  check(fchmodatFunction(dir, cPath(path), mode, 0), 'fchmodat', path);
}

/** A time for {@link utimensat}: seconds (may be negative) and nanoseconds. */
export interface Time {
  readonly sec: number;
  readonly nsec: number;
}

/** utimensat(2), the link itself by default. */
export function utimensat(
  dir: number,
  path: Path,
  atime: Time,
  mtime: Time,
  flags: number = AT.SYMLINK_NOFOLLOW,
): void {
  check(utimensatFunction(dir, cPath(path), timespecs(atime, mtime), flags), 'utimensat', path);
}

/** futimens(3). */
export function futimens(fd: number, atime: Time, mtime: Time): void {
  check(futimensFunction(fd, timespecs(atime, mtime)), 'futimens');
}

function timespecs(atime: Time, mtime: Time): BigInt64Array {
  return new BigInt64Array([BigInt(atime.sec), BigInt(atime.nsec), BigInt(mtime.sec), BigInt(mtime.nsec)]);
}
