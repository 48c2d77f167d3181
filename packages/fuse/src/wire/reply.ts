import { errno, preadRaw, writeRaw } from '@layerfs/linux';
import { STATX_OUT_SIZE, Attr, putAttr, putEntry, putLifetime, putStatx, putU64 } from './attr.js';
import type { AnswerPipe } from './answer-pipe.js';
import { DIRENT_SIZE, ENTRY_OUT_SIZE, OUT_HEADER_SIZE } from './constants.js';

/** File system figures for STATFS; blocks of `bsize` bytes. */
export interface Statfs {
  readonly bsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
  readonly namelen: number;
}

/** A byte-range lock: `type` is F_RDLCK 0, F_WRLCK 1 or F_UNLCK 2; `end` is inclusive. */
export interface Lock {
  readonly start: number;
  readonly end: number;
  readonly type: number;
  readonly pid: number;
}

const BODY = OUT_HEADER_SIZE / 4;
const NEGATIVE = new Attr();

/**
 * The answer to one request, encoded straight into the bytes that go to the kernel. A handler calls exactly one of
 * the methods below (`directory…` may be called many times), or `defer()`.
 */
export class Reply {
  #bytes: Buffer;
  #words: Uint32Array;
  /** Encoded bytes; 0 while unanswered. */
  length = 0;
  /** errno of the answer, for the trace. */
  errno = 0;
  /** No answer must be sent (FORGET and the like), or somebody else sends it. */
  silent = false;
  /** How many answers were ever postponed. */
  deferrals = 0;
  /** How many lookups this answer gives out, which the kernel takes back with FORGET. */
  lookups = 0;
  uniqueLow = 0;
  uniqueHigh = 0;
  #limit = 0;
  readonly #send: ((reply: Reply) => void) | undefined;
  readonly #deferred: ((reply: Reply) => void) | undefined;
  readonly #pipe: AnswerPipe | undefined;
  /** The answer lies in the pipe; what it was taken from. */
  #piped = false;
  #fd = -1;
  #offset = 0;

  /**
   * @param capacity bytes of the largest answer, header included
   * @param deferred sends an answer that was deferred
   * @param send set on a deferred reply: called as soon as it is answered
   * @param pipe for large answers out of files; lent by who sends the answer before the next one is begun
   */
  constructor(capacity: number, deferred?: (reply: Reply) => void, send?: (reply: Reply) => void, pipe?: AnswerPipe) {
    this.#pipe = pipe;
    // Not from Node's pool: the words need an aligned start.
    this.#bytes = Buffer.from(new ArrayBuffer((capacity + 7) & ~7));
    this.#words = new Uint32Array(this.#bytes.buffer);
    this.#deferred = deferred;
    this.#send = send;
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  begin(uniqueLow: number, uniqueHigh: number): void {
    this.uniqueLow = uniqueLow;
    this.uniqueHigh = uniqueHigh;
    this.length = 0;
    this.errno = 0;
    this.silent = false;
    this.lookups = 0;
    this.#limit = 0;
  }

  /** Whether the handler did its duty. */
  get answered(): boolean {
    return this.length !== 0 || this.silent;
  }

  /**
   * Postpones the answer: the loop goes on, and the returned reply is sent when one of its methods is called.
   * @param capacity bytes of the largest answer it may get (READ: the requested length + 16)
   */
  defer(capacity = 4096 + OUT_HEADER_SIZE): Reply {
    this.silent = true;
    this.deferrals++;
    const later = new Reply(capacity, undefined, this.#deferred);
    later.begin(this.uniqueLow, this.uniqueHigh);
    return later;
  }

  #finish(length: number, error: number): void {
    // Something else is answered after all, or that one was never sent.
    if (this.#piped) this.#pipe?.close();
    this.#piped = false;
    const words = this.#words;
    words[0] = length;
    words[1] = error === 0 ? 0 : -error;
    words[2] = this.uniqueLow;
    words[3] = this.uniqueHigh;
    this.length = length;
    this.errno = error;
    this.#send?.(this);
  }

  /** Writes the answer to the device. Returns how many bytes that took, or minus errno. */
  sendTo(device: number): number {
    if (this.#piped && this.#pipe !== undefined) {
      const { length } = this;
      const n = this.#pipe.send(device, length);
      this.#piped = false;
      if (n >= 0) return n;
      // Whatever it was (memory, a sandbox): by the plain way it is either sent or refused for what it is.
      this.#readInto(this.#fd, this.#offset, length - OUT_HEADER_SIZE);
      if (this.length !== length) this.error(errno.EIO);
    }
    return writeRaw(device, this.#bytes, this.length);
  }

  /** No body: the operation succeeded. */
  ok(): void {
    this.#finish(OUT_HEADER_SIZE, 0);
  }

  /** The operation failed with this positive errno. */
  error(code: number): void {
    this.#finish(OUT_HEADER_SIZE, code > 0 && code < 512 ? code : errno.EIO);
  }

  /** Nothing is to be sent. */
  none(): void {
    this.silent = true;
  }

  /** LOOKUP, MKNOD, MKDIR, SYMLINK, LINK: an inode, and for how many seconds the kernel may trust name and attributes. */
  entry(nodeid: number, attr: Attr, entryLifetime: number, attrLifetime: number): void {
    putEntry(this.#words, BODY, nodeid, attr, entryLifetime, attrLifetime);
    if (nodeid !== 0) this.lookups = 1;
    this.#finish(OUT_HEADER_SIZE + ENTRY_OUT_SIZE, 0);
  }

  /** LOOKUP: there is no such name, and that may be trusted for `lifetime` seconds. */
  negative(lifetime: number): void {
    putEntry(this.#words, BODY, 0, NEGATIVE, lifetime, 0);
    this.#finish(OUT_HEADER_SIZE + ENTRY_OUT_SIZE, 0);
  }

  /** GETATTR, SETATTR. */
  attr(attr: Attr, lifetime: number): void {
    const words = this.#words;
    putLifetime(words, BODY, BODY + 2, lifetime);
    words[BODY + 3] = 0;
    putAttr(words, BODY + 4, attr);
    this.#finish(OUT_HEADER_SIZE + 16 + 88, 0);
  }

  /** STATX. `birth` is undefined where the time is not known. */
  statx(attr: Attr, lifetime: number, birth: { readonly sec: number; readonly nsec: number } | undefined): void {
    putStatx(this.#words, BODY, attr, lifetime, birth);
    this.#finish(OUT_HEADER_SIZE + STATX_OUT_SIZE, 0);
  }

  #putOpen(at: number, fh: number, flags: number, backingId: number): void {
    putU64(this.#words, at, fh);
    this.#words[at + 2] = flags;
    this.#words[at + 3] = backingId;
  }

  /** OPEN, OPENDIR: a handle of ours, FOPEN bits, and with FOPEN.PASSTHROUGH the backing id. */
  open(fh: number, flags: number, backingId = 0): void {
    this.#putOpen(BODY, fh, flags, backingId);
    this.#finish(OUT_HEADER_SIZE + 16, 0);
  }

  /** CREATE, TMPFILE: `entry` and `open` in one. */
  create(
    nodeid: number,
    attr: Attr,
    entryLifetime: number,
    attrLifetime: number,
    fh: number,
    flags: number,
    backingId = 0,
  ): void {
    const behind = putEntry(this.#words, BODY, nodeid, attr, entryLifetime, attrLifetime);
    this.#putOpen(behind, fh, flags, backingId);
    this.lookups = 1;
    this.#finish(OUT_HEADER_SIZE + ENTRY_OUT_SIZE + 16, 0);
  }

  /** READ, READLINK, GETXATTR and LISTXATTR with a buffer: the bytes themselves. */
  data(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, OUT_HEADER_SIZE);
    this.#finish(OUT_HEADER_SIZE + bytes.length, 0);
  }

  /** READ: up to `length` bytes of a descriptor, which has to stay open until the answer is sent. */
  readFrom(fd: number, offset: number, length: number): void {
    this.#room(length);
    if (this.#pipe !== undefined) {
      this.#finish(OUT_HEADER_SIZE + length, 0);
      this.#piped = this.#pipe.fill(this.#bytes, OUT_HEADER_SIZE, fd, offset, length);
      this.#fd = fd;
      this.#offset = offset;
      if (this.#piped) return;
    }
    this.#readInto(fd, offset, length);
  }

  #readInto(fd: number, offset: number, length: number): void {
    const n = preadRaw(fd, this.#bytes.subarray(OUT_HEADER_SIZE), length, offset);
    if (n < 0) this.error(-n);
    else this.#finish(OUT_HEADER_SIZE + n, 0);
  }

  /** WRITE, COPY_FILE_RANGE: how many bytes were taken. */
  written(count: number): void {
    this.#words[BODY] = count;
    this.#words[BODY + 1] = 0;
    this.#finish(OUT_HEADER_SIZE + 8, 0);
  }

  /** STATFS. */
  statfs(figures: Statfs): void {
    const words = this.#words;
    words.fill(0, BODY, BODY + 20);
    putU64(words, BODY, figures.blocks);
    putU64(words, BODY + 2, figures.bfree);
    putU64(words, BODY + 4, figures.bavail);
    putU64(words, BODY + 6, figures.files);
    putU64(words, BODY + 8, figures.ffree);
    words[BODY + 10] = figures.bsize;
    words[BODY + 11] = figures.namelen;
    words[BODY + 12] = figures.bsize;
    this.#finish(OUT_HEADER_SIZE + 80, 0);
  }

  /**
   * GETXATTR, LISTXATTR: answers both forms. `size` is the caller's buffer; 0 asks for the length only, one too
   * small gets ERANGE.
   */
  xattr(value: Uint8Array, size: number): void {
    if (size === 0) {
      this.#words[BODY] = value.length;
      this.#words[BODY + 1] = 0;
      this.#finish(OUT_HEADER_SIZE + 8, 0);
    } else if (value.length > size) this.error(errno.ERANGE);
    else this.data(value);
  }

  /** LSEEK. */
  offset(value: number): void {
    putU64(this.#words, BODY, value);
    this.#finish(OUT_HEADER_SIZE + 8, 0);
  }

  /** GETLK. */
  lock(lock: Lock): void {
    putU64(this.#words, BODY, lock.start);
    putU64(this.#words, BODY + 2, lock.end);
    this.#words[BODY + 4] = lock.type;
    this.#words[BODY + 5] = lock.pid;
    this.#finish(OUT_HEADER_SIZE + 24, 0);
  }

  /** IOCTL: the call's result and what it wrote. */
  ioctl(result: number, out: Uint8Array): void {
    this.#room(16 + out.length);
    this.#words.fill(0, BODY, BODY + 4);
    this.#words[BODY] = result;
    this.#bytes.set(out, OUT_HEADER_SIZE + 16);
    this.#finish(OUT_HEADER_SIZE + 16 + out.length, 0);
  }

  /** POLL: which events are ready. */
  poll(events: number): void {
    this.#words[BODY] = events;
    this.#words[BODY + 1] = 0;
    this.#finish(OUT_HEADER_SIZE + 8, 0);
  }

  /** Starts READDIR or READDIRPLUS: at most `size` bytes of entries follow. */
  directory(size: number): void {
    this.#limit = OUT_HEADER_SIZE + Math.min(size, this.#bytes.length - OUT_HEADER_SIZE);
    this.#finishDirectory(OUT_HEADER_SIZE);
  }

  #finishDirectory(length: number): void {
    this.#finish(length, 0);
  }

  /**
   * Adds one READDIR entry; the name is `length` bytes of `names` at `start`. `next` is the offset that continues
   * behind it. Returns false, adding nothing, when the answer is full.
   */
  addDirent(ino: number, type: number, next: number, names: Uint8Array, start: number, length: number): boolean {
    const at = this.length;
    const end = at + ((DIRENT_SIZE + length + 7) & ~7);
    if (end > this.#limit) return false;
    this.#putDirent(at, ino, type, next, names, start, length);
    this.length = end;
    this.#words[0] = end;
    return true;
  }

  /** Adds one READDIRPLUS entry: as {@link addDirent}, with what a LOOKUP of the name would answer. */
  addDirentPlus(
    nodeid: number,
    attr: Attr,
    lifetime: number,
    type: number,
    next: number,
    names: Uint8Array,
    start: number,
    length: number,
  ): boolean {
    const at = this.length;
    const end = at + ENTRY_OUT_SIZE + ((DIRENT_SIZE + length + 7) & ~7);
    if (end > this.#limit) return false;
    putEntry(this.#words, at >>> 2, nodeid, attr, lifetime, lifetime);
    this.#putDirent(at + ENTRY_OUT_SIZE, attr.ino, type, next, names, start, length);
    if (nodeid !== 0) this.lookups++;
    this.length = end;
    this.#words[0] = end;
    return true;
  }

  #putDirent(
    at: number,
    ino: number,
    type: number,
    next: number,
    names: Uint8Array,
    start: number,
    length: number,
  ): void {
    const words = this.#words;
    const word = at >>> 2;
    putU64(words, word, ino);
    putU64(words, word + 2, next);
    words[word + 4] = length;
    words[word + 5] = type;
    const bytes = this.#bytes;
    const nameAt = at + DIRENT_SIZE;
    for (let i = 0; i < length; i++) bytes[nameAt + i] = names[start + i];
    // Padding is zeroed: nothing of an older answer leaves the process.
    for (let i = nameAt + length; (i & 7) !== 0; i++) bytes[i] = 0;
  }

  /** INIT and other answers with a body of their own. */
  body(words: Uint32Array): void {
    this.#words.set(words, BODY);
    this.#finish(OUT_HEADER_SIZE + words.length * 4, 0);
  }

  #room(length: number): void {
    if (OUT_HEADER_SIZE + length > this.#bytes.length) throw new RangeError('the answer does not fit its buffer');
  }
}
