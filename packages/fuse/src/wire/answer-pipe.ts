import { ErrnoError, close, errno, pipe, setPipeSize, spliceRaw, writeRaw } from '@layerfs/linux';

/** Less than this, in bytes, is read into memory and written: that is one system call less. */
const LEAST = 64 << 10;
/** The most that a user's pipe may hold unless the machine is told otherwise; the kernel asks for 256 KiB at once, and more where root said so. */
const CAPACITY = 1 << 20;
/** A page for the header, and content that begins within a page reaches into one more. */
const SPARE = 2 * 4096;

/**
 * A pipe through which content gets from a file into an answer inside the kernel, copied once: header, content, and then both at once to
 * the device. It holds one answer at a time, is opened when it is first needed, and where it cannot be had (a sandbox, a user with many
 * pipes) {@link fill} always says no.
 */
export class AnswerPipe {
  readonly #capacity: number;
  #ends: readonly [number, number] | undefined;
  #most = 0;
  #useless = false;

  /** @param capacity bytes that it should hold; larger answers do not go this way */
  constructor(capacity = CAPACITY) {
    this.#capacity = capacity;
  }

  /**
   * Takes an answer in, all of it or nothing.
   * @param header its first `headerLength` bytes stand before the content
   * @returns whether it did; if not (short files, too), the content is to be read
   */
  fill(header: Uint8Array, headerLength: number, fd: number, offset: number, length: number): boolean {
    if (length < LEAST || this.#useless) return false;
    const ends = (this.#ends ??= this.#open());
    if (ends === undefined || length > this.#most) return false;
    const written = writeRaw(ends[1], header, headerLength);
    const moved = written === headerLength ? spliceRaw(fd, offset, ends[1], length) : written;
    if (moved === length) return true;
    this.close();
    // A sandbox forbids it, whatever the file.
    if (moved === -errno.ENOSYS || moved === -errno.EPERM) this.#useless = true;
    return false;
  }

  /**
   * Sends what {@link fill} took in.
   * @param length header and content, in bytes
   * @returns how many bytes the device took, or minus errno; the pipe is empty in any case
   */
  send(device: number, length: number): number {
    if (this.#ends === undefined) return -errno.EBADF;
    const n = spliceRaw(this.#ends[0], undefined, device, length);
    if (n !== length) this.close();
    return n;
  }

  /** Closes it, and so throws away what is in it; it is opened again when it is needed. */
  close(): void {
    this.#ends?.forEach((end) => close(end));
    this.#ends = undefined;
  }

  #open(): readonly [number, number] | undefined {
    let ends: [number, number] | undefined;
    try {
      ends = pipe();
      this.#most = grow(ends[1], this.#capacity) - SPARE;
      return ends;
    } catch (error) {
      ends?.forEach((end) => close(end));
      if (!(error instanceof ErrnoError)) throw error;
      this.#useless = true;
      return undefined;
    }
  }
}

/** Makes a pipe hold as much as this user may have, at most `bytes`. Returns how much it does. Throws ErrnoError when that is too little. */
function grow(end: number, bytes: number): number {
  try {
    return setPipeSize(end, bytes);
  } catch (error) {
    if (!(error instanceof ErrnoError) || bytes < 2 * LEAST) throw error;
    return grow(end, bytes / 2);
  }
}
