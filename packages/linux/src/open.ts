import { cPath, check, native, nativeSyscall, type Path } from './library.js';

/** The current folder, in place of a folder descriptor. */
export const AT_FDCWD = -100;
/** Flags of the *at calls. */
export const AT = { SYMLINK_NOFOLLOW: 0x100, REMOVEDIR: 0x200, SYMLINK_FOLLOW: 0x400, EMPTY_PATH: 0x1000 } as const;
/** Flags of open(2) that Node's constants lack or that are used with openat. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  // The two values that differ on arm64.
  DIRECTORY: process.arch === 'arm64' ? 0o40000 : 0o200000,
  NOFOLLOW: process.arch === 'arm64' ? 0o100000 : 0o400000,
  NOATIME: 0o1000000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
} as const;
/** Flags of openat2(2)'s resolve field: what a path walk may not do. */
export const RESOLVE = { NO_XDEV: 1, NO_MAGICLINKS: 2, NO_SYMLINKS: 4, BENEATH: 8, IN_ROOT: 16 } as const;

const openat2Function = nativeSyscall(437, 'long dir, const void *path, const void *how, size_t size');
const openatFunction = native('int openat(int dir, const void *path, int flags, int mode)');

/** openat(2). Adds O_CLOEXEC. Returns a descriptor; throws ErrnoError naming the path. */
export function openat(dir: number, path: Path, flags: number, mode = 0): number {
  return check(openatFunction(dir, cPath(path), flags | O.CLOEXEC, mode), 'openat', path);
}

/** openat2(2), Linux 5.6: openat with limits on how the path may be walked. Adds O_CLOEXEC. */
export function openat2(dir: number, path: Path, flags: number, resolve: number, mode = 0): number {
  const how = new BigUint64Array([BigInt(flags | O.CLOEXEC), BigInt(mode), BigInt(resolve)]);
  const bytes = new Uint8Array(how.buffer);
  return check(openat2Function(dir, cPath(path), bytes, bytes.length), 'openat2', path);
}
