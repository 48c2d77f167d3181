import { ATTR_SIZE } from './constants.js';

const TWO_32 = 0x1_0000_0000;

/**
 * What stat shows of an inode. One object is filled again and again, so that answering allocates nothing.
 * Times are whole seconds (may be negative) and nanoseconds; `blocks` counts 512 bytes; `rdev` is the kernel's
 * 32-bit device number (minor's low byte, 12 bits of major, the rest of minor).
 */
export class Attr {
  ino = 0;
  size = 0;
  blocks = 0;
  atimeSec = 0;
  atimeNsec = 0;
  mtimeSec = 0;
  mtimeNsec = 0;
  ctimeSec = 0;
  ctimeNsec = 0;
  mode = 0;
  nlink = 1;
  uid = 0;
  gid = 0;
  rdev = 0;
  blksize = 4096;
}

/** Writes a number below 2^53 (or a negative one above -2^53) as 64 bits at word index `at`. */
export function putU64(words: Uint32Array, at: number, value: number): void {
  words[at] = value % TWO_32;
  words[at + 1] = Math.floor(value / TWO_32);
}

/** Writes struct fuse_attr (88 bytes) at word index `at`. */
export function putAttr(words: Uint32Array, at: number, attr: Attr): void {
  putU64(words, at, attr.ino);
  putU64(words, at + 2, attr.size);
  putU64(words, at + 4, attr.blocks);
  putU64(words, at + 6, attr.atimeSec);
  putU64(words, at + 8, attr.mtimeSec);
  putU64(words, at + 10, attr.ctimeSec);
  words[at + 12] = attr.atimeNsec;
  words[at + 13] = attr.mtimeNsec;
  words[at + 14] = attr.ctimeNsec;
  words[at + 15] = attr.mode;
  words[at + 16] = attr.nlink;
  words[at + 17] = attr.uid;
  words[at + 18] = attr.gid;
  words[at + 19] = attr.rdev;
  words[at + 20] = attr.blksize;
  words[at + 21] = 0;
}

/**
 * Writes struct fuse_entry_out (128 bytes) at word index `at`. Lifetimes are seconds and may have a fraction;
 * nodeid 0 is a negative entry. Returns the word index behind it.
 */
export function putEntry(
  words: Uint32Array,
  at: number,
  nodeid: number,
  attr: Attr,
  entryLifetime: number,
  attrLifetime: number,
): number {
  putU64(words, at, nodeid);
  words[at + 2] = 0; // generation
  words[at + 3] = 0;
  putLifetime(words, at + 4, at + 8, entryLifetime);
  putLifetime(words, at + 6, at + 9, attrLifetime);
  putAttr(words, at + 10, attr);
  return at + 10 + ATTR_SIZE / 4;
}

/** Writes a lifetime in seconds as 64-bit seconds at `secondsAt` and nanoseconds at `nanosAt`. */
export function putLifetime(words: Uint32Array, secondsAt: number, nanosAt: number, seconds: number): void {
  const whole = Math.floor(seconds);
  putU64(words, secondsAt, whole);
  words[nanosAt] = (seconds - whole) * 1e9;
}

/** struct fuse_statx_out with its struct fuse_statx. */
export const STATX_OUT_SIZE = 288;
const STATX_BASIC_STATS = 0x7ff;
const STATX_BTIME = 0x800;

/** Writes struct fuse_statx_out (288 bytes) at word index `at`. */
export function putStatx(
  words: Uint32Array,
  at: number,
  attr: Attr,
  lifetime: number,
  birth: { readonly sec: number; readonly nsec: number } | undefined,
): void {
  words.fill(0, at, at + STATX_OUT_SIZE / 4);
  putLifetime(words, at, at + 2, lifetime);
  const stat = at + 8;
  words[stat] = STATX_BASIC_STATS | (birth === undefined ? 0 : STATX_BTIME);
  words[stat + 1] = attr.blksize;
  words[stat + 4] = attr.nlink;
  words[stat + 5] = attr.uid;
  words[stat + 6] = attr.gid;
  words[stat + 7] = attr.mode;
  putU64(words, stat + 8, attr.ino);
  putU64(words, stat + 10, attr.size);
  putU64(words, stat + 12, attr.blocks);
  putTime(words, stat + 16, attr.atimeSec, attr.atimeNsec);
  if (birth !== undefined) putTime(words, stat + 20, birth.sec, birth.nsec);
  putTime(words, stat + 24, attr.ctimeSec, attr.ctimeNsec);
  putTime(words, stat + 28, attr.mtimeSec, attr.mtimeNsec);
  // Linux's 32-bit device number, taken apart.
  words[stat + 32] = (attr.rdev >>> 8) & 0xfff;
  words[stat + 33] = (attr.rdev & 0xff) | ((attr.rdev >>> 12) & 0xfff00);
}

function putTime(words: Uint32Array, at: number, sec: number, nsec: number): void {
  putU64(words, at, sec);
  words[at + 2] = nsec;
}
