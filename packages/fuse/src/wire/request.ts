import { ErrnoError, errno } from '@layerfs/linux';
import { IN_HEADER_SIZE } from './constants.js';

const TWO_32 = 0x1_0000_0000;

/**
 * One FUSE request as it lies in the read buffer. The object is used again for the next request: whoever needs a
 * field later copies it. Offsets of the readers below count from the end of the header.
 */
export class Request {
  /** The bytes of the request; only the first `length` count. */
  readonly bytes: Buffer;
  readonly #words: Uint32Array;
  length = 0;
  opcode = 0;
  /** The kernel's number for this request, as two 32-bit halves. */
  uniqueLow = 0;
  uniqueHigh = 0;
  nodeid = 0;
  uid = 0;
  gid = 0;
  pid = 0;
  /** SETXATTR has the longer form (INIT.SETXATTR_EXT was agreed on). */
  longSetxattr = false;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
  }

  /**
   * Reads the header of the `length` bytes that were read from the device.
   * Returns false when they cannot be a request: shorter than a header, or another length inside.
   */
  begin(length: number): boolean {
    const words = this.#words;
    this.length = length;
    if (length < IN_HEADER_SIZE || words[0] !== length) return false;
    this.opcode = words[1];
    this.uniqueLow = words[2];
    this.uniqueHigh = words[3];
    // A nodeid that cannot be ours (above 2^53) becomes an inexact number here, and no file system knows it.
    this.nodeid = words[4] + words[5] * TWO_32;
    this.uid = words[6];
    this.gid = words[7];
    this.pid = words[8];
    return true;
  }

  /** Length of what follows the header. */
  get bodyLength(): number {
    return this.length - IN_HEADER_SIZE;
  }

  /** u32 at a body offset that is a multiple of four. */
  u32(offset: number): number {
    this.#need(offset + 4);
    return this.#words[(IN_HEADER_SIZE + offset) >>> 2];
  }

  /** i32 at a body offset. */
  i32(offset: number): number {
    return this.u32(offset) | 0;
  }

  /** u64 at a body offset; EINVAL for a value that a number cannot hold exactly. */
  u64(offset: number): number {
    const value = this.u32(offset) + this.u32(offset + 4) * TWO_32;
    if (value > Number.MAX_SAFE_INTEGER) throw new ErrnoError(errno.EINVAL, 'fuse request');
    return value;
  }

  /** u64 at a body offset as the kernel's signed number (offsets, times). EINVAL beyond 2^53. */
  i64(offset: number): number {
    const value = this.u32(offset) + this.i32(offset + 4) * TWO_32;
    if (!Number.isSafeInteger(value)) throw new ErrnoError(errno.EINVAL, 'fuse request');
    return value;
  }

  /** A NUL-terminated byte string as latin1, one char a byte. EINVAL when its end is missing. */
  name(offset: number): string {
    const start = IN_HEADER_SIZE + offset;
    const end = this.#terminator(offset);
    return this.bytes.toString('latin1', start, end);
  }

  /** The body offset behind the NUL-terminated string at `offset`. */
  afterName(offset: number): number {
    return this.#terminator(offset) - IN_HEADER_SIZE + 1;
  }

  /** A view of `length` body bytes, valid until the handler returns. */
  data(offset: number, length: number): Uint8Array {
    this.#need(offset + length);
    return this.bytes.subarray(IN_HEADER_SIZE + offset, IN_HEADER_SIZE + offset + length);
  }

  #terminator(offset: number): number {
    const start = IN_HEADER_SIZE + offset;
    // The request's last byte is the last name's NUL; searching beyond would find an older request's.
    const end = start < this.length ? this.bytes.indexOf(0, start) : -1;
    if (end < 0 || end >= this.length) throw new ErrnoError(errno.EINVAL, 'fuse request');
    return end;
  }

  #need(end: number): void {
    if (end > this.bodyLength) throw new ErrnoError(errno.EINVAL, 'fuse request');
  }
}
