import { errno } from './errno.js';
import { cPath, check, lastErrno, native, type Path } from './library.js';

/** What statx(2) tells; times in whole seconds and nanoseconds, sizes in bytes, `blocks` of 512 bytes. */
export interface Statx {
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly ino: number;
  readonly size: number;
  readonly blocks: number;
  readonly blksize: number;
  readonly atimeSec: number;
  readonly atimeNsec: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly ctimeSec: number;
  readonly ctimeNsec: number;
  /** Birth time; undefined where the filesystem does not keep one. */
  readonly btimeSec: number | undefined;
  readonly btimeNsec: number | undefined;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
  readonly devMajor: number;
  readonly devMinor: number;
}

const statxFunction = native('int statx(int dir, const void *path, int flags, unsigned int mask, void *buffer)');
const STATX_BASIC_STATS = 0x7ff;
const STATX_BTIME = 0x800;

/** statx(2), with birth time. `flags`: AT.SYMLINK_NOFOLLOW, AT.EMPTY_PATH. Throws ErrnoError naming the path. */
export function statx(dir: number, path: Path, flags = 0): Statx {
  check(statxFunction(dir, cPath(path), flags, STATX_BASIC_STATS | STATX_BTIME, bytes), 'statx', path);
  return found();
}

/** {@link statx}; undefined where there is no such name, at no cost of an exception. */
export function tryStatx(dir: number, path: Path, flags = 0): Statx | undefined {
  const result = statxFunction(dir, cPath(path), flags, STATX_BASIC_STATS | STATX_BTIME, bytes);
  if (result === -1 && lastErrno() === errno.ENOENT) return undefined;
  check(result, 'statx', path);
  return found();
}

// One buffer for all: the call is synchronous, and what it found is read at once.
const bytes = new Uint8Array(256);
const v = new DataView(bytes.buffer);

function found(): Statx {
  const born = (v.getUint32(0, true) & STATX_BTIME) !== 0;
  return {
    blksize: v.getUint32(4, true),
    nlink: v.getUint32(16, true),
    uid: v.getUint32(20, true),
    gid: v.getUint32(24, true),
    mode: v.getUint16(28, true),
    ino: Number(v.getBigUint64(32, true)),
    size: Number(v.getBigUint64(40, true)),
    blocks: Number(v.getBigUint64(48, true)),
    atimeSec: Number(v.getBigInt64(64, true)),
    atimeNsec: v.getUint32(72, true),
    btimeSec: born ? Number(v.getBigInt64(80, true)) : undefined,
    btimeNsec: born ? v.getUint32(88, true) : undefined,
    ctimeSec: Number(v.getBigInt64(96, true)),
    ctimeNsec: v.getUint32(104, true),
    mtimeSec: Number(v.getBigInt64(112, true)),
    mtimeNsec: v.getUint32(120, true),
    rdevMajor: v.getUint32(128, true),
    rdevMinor: v.getUint32(132, true),
    devMajor: v.getUint32(136, true),
    devMinor: v.getUint32(140, true),
  };
}
