import { lastErrno, native } from './library.js';

const statxFunction = native('int statx(int dir, const void *path, int flags, unsigned int mask, void *buffer)');
const STATX_BASIC_STATS = 0x7ff;
const SIZE = 256;
const TWO_32 = 2 ** 32;
/** Bytes of struct statx, in 32-bit words. */
const WORD = {
  blksize: 1,
  nlink: 4,
  uid: 5,
  gid: 6,
  mode: 7,
  ino: 8,
  size: 10,
  blocks: 12,
  atime: 16,
  ctime: 24,
  mtime: 28,
  rdev: 32,
  dev: 34,
} as const;

/**
 * statx(2) for loops that ask of very many files: one buffer, filled again and again, and no exception for a file
 * that is not there. Getters read what the last successful {@link StatView.at} found.
 */
export class StatView {
  readonly #bytes = new Uint8Array(SIZE);
  readonly #words = new Uint32Array(this.#bytes.buffer);
  readonly #signed = new Int32Array(this.#bytes.buffer);

  /**
   * Asks for `path` (bytes with a closing NUL) below the folder `dir`, the link itself where it is one.
   * 0, or minus errno.
   */
  at(dir: number, path: Uint8Array, flags: number): number {
    return statxFunction(dir, path, flags, STATX_BASIC_STATS, this.#bytes) === 0 ? 0 : -lastErrno();
  }

  get mode(): number {
    return this.#words[WORD.mode] & 0xffff;
  }
  get nlink(): number {
    return this.#words[WORD.nlink];
  }
  get uid(): number {
    return this.#words[WORD.uid];
  }
  get gid(): number {
    return this.#words[WORD.gid];
  }
  get blksize(): number {
    return this.#words[WORD.blksize];
  }
  /** The inode number's lower 32 bits; numbers of 2^53 and more exist, so it comes in two halves. */
  get inoLow(): number {
    return this.#words[WORD.ino];
  }
  get inoHigh(): number {
    return this.#words[WORD.ino + 1];
  }
  get size(): number {
    return this.#u64(WORD.size);
  }
  /** Of 512 bytes. */
  get blocks(): number {
    return this.#u64(WORD.blocks);
  }
  get atimeSec(): number {
    return this.#i64(WORD.atime);
  }
  get atimeNsec(): number {
    return this.#words[WORD.atime + 2];
  }
  get mtimeSec(): number {
    return this.#i64(WORD.mtime);
  }
  get mtimeNsec(): number {
    return this.#words[WORD.mtime + 2];
  }
  get ctimeSec(): number {
    return this.#i64(WORD.ctime);
  }
  get ctimeNsec(): number {
    return this.#words[WORD.ctime + 2];
  }
  get rdevMajor(): number {
    return this.#words[WORD.rdev];
  }
  get rdevMinor(): number {
    return this.#words[WORD.rdev + 1];
  }
  get devMajor(): number {
    return this.#words[WORD.dev];
  }
  get devMinor(): number {
    return this.#words[WORD.dev + 1];
  }

  #u64(word: number): number {
    return this.#words[word] + this.#words[word + 1] * TWO_32;
  }

  #i64(word: number): number {
    return this.#words[word] + this.#signed[word + 1] * TWO_32;
  }
}
