/**
 * The system calls that cases make, thin: one call each, a failure throws ErrnoError. Paths are as the caller gives
 * them, mostly relative to the folder of the case, which is the current folder while the case runs.
 */
import { AT, AT_FDCWD, O as PACKAGE_O, statx } from '@layerfs/linux';
import { cPath, check, native, nativeSyscall, type Path } from '../../../packages/linux/dist/library.js';

const arm = process.arch === 'arm64';

/** Flags of open(2). */
export const O = {
  ...PACKAGE_O,
  SYNC: 0o4010000,
  DSYNC: 0o10000,
  DIRECT: arm ? 0o200000 : 0o40000,
  TMPFILE: 0o20000000 | PACKAGE_O.DIRECTORY,
} as const;

/** File type bits of st_mode. */
export const S = {
  FMT: 0o170000,
  REG: 0o100000,
  DIR: 0o040000,
  LNK: 0o120000,
  FIFO: 0o010000,
  CHR: 0o020000,
  BLK: 0o060000,
  SOCK: 0o140000,
} as const;

const f = {
  openat: native('int openat(int dir, const void *path, int flags, unsigned int mode)'),
  close: native('int close(int fd)'),
  mkdir: native('int mkdir(const void *path, unsigned int mode)'),
  mknod: native('int mknod(const void *path, unsigned int mode, uint64_t dev)'),
  rmdir: native('int rmdir(const void *path)'),
  unlink: native('int unlink(const void *path)'),
  symlink: native('int symlink(const void *target, const void *path)'),
  linkat: native('int linkat(int fromDir, const void *from, int toDir, const void *to, int flags)'),
  readlink: native('int64_t readlink(const void *path, void *buffer, size_t size)'),
  chmod: native('int chmod(const void *path, unsigned int mode)'),
  fchmod: native('int fchmod(int fd, unsigned int mode)'),
  fchownat: native('int fchownat(int dir, const void *path, uint32_t uid, uint32_t gid, int flags)'),
  fchown: native('int fchown(int fd, uint32_t uid, uint32_t gid)'),
  utimensat: native('int utimensat(int dir, const void *path, const void *times, int flags)'),
  futimens: native('int futimens(int fd, const void *times)'),
  chdir: native('int chdir(const void *path)'),
  fchdir: native('int fchdir(int fd)'),
  getdents: nativeSyscall(arm ? 61 : 217, 'long fd, void *buffer, size_t size'),
  renameat2: nativeSyscall(
    arm ? 276 : 316,
    'long fromDir, const void *from, long toDir, const void *to, unsigned long flags',
  ),
  faccessat2: nativeSyscall(439, 'long dir, const void *path, long mode, long flags'),
  fchmodat2: nativeSyscall(452, 'long dir, const void *path, unsigned long mode, long flags'),
};

export function open(path: Path, flags: number, mode = 0): number {
  return check(f.openat(AT_FDCWD, cPath(path), flags | O.CLOEXEC, mode), 'open', path);
}

export function openat(dir: number, path: Path, flags: number, mode = 0): number {
  return check(f.openat(dir, cPath(path), flags | O.CLOEXEC, mode), 'openat', path);
}

export function close(fd: number): void {
  check(f.close(fd), 'close');
}

/** Opens, calls, closes. */
export function withFd<T>(path: Path, flags: number, run: (fd: number) => T, mode = 0o644): T {
  const fd = open(path, flags, mode);
  try {
    return run(fd);
  } finally {
    close(fd);
  }
}

export function mkdir(path: Path, mode = 0o755): void {
  check(f.mkdir(cPath(path), mode), 'mkdir', path);
}

/** `mode` with the type bits; `device` as major << 8 | minor, small numbers only. */
export function mknod(path: Path, mode: number, device = 0): void {
  check(f.mknod(cPath(path), mode, device), 'mknod', path);
}

export function mkfifo(path: Path, mode = 0o644): void {
  mknod(path, S.FIFO | mode);
}

export function rmdir(path: Path): void {
  check(f.rmdir(cPath(path)), 'rmdir', path);
}

export function unlink(path: Path): void {
  check(f.unlink(cPath(path)), 'unlink', path);
}

export function symlink(target: Path, path: Path): void {
  check(f.symlink(cPath(target), cPath(path)), 'symlink', path);
}

/** link(2), which does not follow; AT.SYMLINK_FOLLOW in `flags` does. */
export function link(from: Path, to: Path, flags = 0): void {
  check(f.linkat(AT_FDCWD, cPath(from), AT_FDCWD, cPath(to), flags), 'link', to);
}

/** Gives the file behind a descriptor a name, as O_TMPFILE is meant to be used. Needs CAP_DAC_READ_SEARCH. */
export function linkFd(fd: number, to: Path): void {
  check(f.linkat(fd, cPath(''), AT_FDCWD, cPath(to), AT.EMPTY_PATH), 'linkat', to);
}

export function readlink(path: Path, size = 4096): string {
  const buffer = Buffer.alloc(size);
  return buffer.toString('latin1', 0, check(f.readlink(cPath(path), buffer, size), 'readlink', path));
}

export function rename(from: Path, to: Path, flags = 0): void {
  check(f.renameat2(AT_FDCWD, cPath(from), AT_FDCWD, cPath(to), flags), 'rename', to);
}

export function chmod(path: Path, mode: number): void {
  check(f.chmod(cPath(path), mode), 'chmod', path);
}

export function fchmod(fd: number, mode: number): void {
  check(f.fchmod(fd, mode), 'fchmod');
}

/** fchmodat2(2) on a link itself, Linux 6.6. */
export function lchmod(path: Path, mode: number): void {
  check(f.fchmodat2(AT_FDCWD, cPath(path), mode, AT.SYMLINK_NOFOLLOW), 'fchmodat2', path);
}

const NO_CHANGE = 0xffffffff;

/** -1 leaves an id as it is. */
function id(value: number): number {
  return value === -1 ? NO_CHANGE : value;
}

export function chown(path: Path, uid: number, gid: number): void {
  check(f.fchownat(AT_FDCWD, cPath(path), id(uid), id(gid), 0), 'chown', path);
}

export function lchown(path: Path, uid: number, gid: number): void {
  check(f.fchownat(AT_FDCWD, cPath(path), id(uid), id(gid), AT.SYMLINK_NOFOLLOW), 'lchown', path);
}

export function fchown(fd: number, uid: number, gid: number): void {
  check(f.fchown(fd, id(uid), id(gid)), 'fchown');
}

/** A time for utimensat: nanoseconds since 1970, or what the kernel shall do. */
export type Time = bigint | 'now' | 'omit';

function timespecs(...times: Time[]): Uint8Array {
  const words = times.flatMap((time) => {
    if (time === 'now') return [0n, 0x3fffffffn];
    if (time === 'omit') return [0n, 0x3ffffffen];
    const nsec = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    return [(time - nsec) / 1_000_000_000n, nsec];
  });
  return new Uint8Array(new BigInt64Array(words).buffer);
}

export function utimens(path: Path, atime: Time, mtime: Time, flags = 0): void {
  check(f.utimensat(AT_FDCWD, cPath(path), timespecs(atime, mtime), flags), 'utimensat', path);
}

/** utimensat with bare words, for values that no time has. */
export function utimensRaw(path: Path, words: readonly bigint[]): void {
  const bytes = new Uint8Array(new BigInt64Array(words).buffer);
  check(f.utimensat(AT_FDCWD, cPath(path), bytes, 0), 'utimensat', path);
}

/** utimensat with a null pointer: both times now, which needs less permission than any given time. */
export function utimensNow(path: Path): void {
  check(f.utimensat(AT_FDCWD, cPath(path), null, 0), 'utimensat', path);
}

export function futimens(fd: number, atime: Time, mtime: Time): void {
  check(f.futimens(fd, timespecs(atime, mtime)), 'futimens');
}

export const ACCESS = { F: 0, X: 1, W: 2, R: 4 } as const;

/** access(2): by the real ids. */
export function access(path: Path, mode: number, flags = 0): void {
  check(f.faccessat2(AT_FDCWD, cPath(path), mode, flags), 'access', path);
}

export function chdir(path: Path): void {
  check(f.chdir(cPath(path)), 'chdir', path);
}

export function fchdir(fd: number): void {
  check(f.fchdir(fd), 'fchdir');
}

/** What stat shows; times in nanoseconds. */
export interface Stat {
  readonly type: number;
  /** The twelve permission bits. */
  readonly perm: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly ino: number;
  readonly size: number;
  readonly blocks: number;
  readonly device: string;
  readonly rdev: string;
  readonly atime: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
  readonly btime: bigint | undefined;
}

function statBy(dir: number, path: Path, flags: number): Stat {
  const s = statx(dir, path, flags);
  const time = (sec: number, nsec: number): bigint => BigInt(sec) * 1_000_000_000n + BigInt(nsec);
  return {
    type: s.mode & S.FMT,
    perm: s.mode & 0o7777,
    nlink: s.nlink,
    uid: s.uid,
    gid: s.gid,
    ino: s.ino,
    size: s.size,
    blocks: s.blocks,
    device: `${String(s.devMajor)}:${String(s.devMinor)}`,
    rdev: `${String(s.rdevMajor)}:${String(s.rdevMinor)}`,
    atime: time(s.atimeSec, s.atimeNsec),
    mtime: time(s.mtimeSec, s.mtimeNsec),
    ctime: time(s.ctimeSec, s.ctimeNsec),
    btime: s.btimeSec === undefined || s.btimeNsec === undefined ? undefined : time(s.btimeSec, s.btimeNsec),
  };
}

export function stat(path: Path): Stat {
  return statBy(AT_FDCWD, path, 0);
}

export function lstat(path: Path): Stat {
  return statBy(AT_FDCWD, path, AT.SYMLINK_NOFOLLOW);
}

export function fstat(fd: number): Stat {
  return statBy(fd, '', AT.EMPTY_PATH);
}

export interface Entry {
  readonly name: string;
  readonly ino: number;
  /** DT_ of readdir(3): the type bits of st_mode shifted right by 12; 0 where it is not known. */
  readonly type: number;
}

/** One getdents64(2): empty at the end of the folder. Names are latin1. */
export function getdents(fd: number, size = 32768): Entry[] {
  const buffer = Buffer.alloc(size);
  const end = check(f.getdents(fd, buffer, size), 'getdents64');
  const entries: Entry[] = [];
  for (let at = 0; at < end; at += buffer.readUInt16LE(at + 16)) {
    const ino = Number(buffer.readBigUInt64LE(at));
    const type = buffer[at + 18];
    entries.push({ name: buffer.toString('latin1', at + 19, buffer.indexOf(0, at + 19)), ino, type });
  }
  return entries;
}

/** All entries with . and .. */
export function readdir(path: Path): Entry[] {
  return withFd(path, O.RDONLY | O.DIRECTORY, (fd) => {
    const all: Entry[] = [];
    for (;;) {
      const some = getdents(fd);
      if (some.length === 0) return all;
      all.push(...some);
    }
  });
}

/** Names without . and .., sorted. */
export function names(path: Path = '.'): string[] {
  return readdir(path)
    .map(({ name }) => name)
    .filter((name) => name !== '.' && name !== '..')
    .toSorted();
}
