import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { alignedBuffer } from '@layerfs/linux/memory';
import { isErrno } from '../errors.js';

const PIECE = 1 << 20;
/** What O_DIRECT wants addresses, offsets and lengths to be multiples of, on every disk there is. */
export const ALIGNMENT = 4096;

/**
 * A new file that is written past the page cache, in large pieces: it is not to be read soon, and would only push out what
 * is. It also saves a good part of the time. Where the filesystem cannot, an ordinary file.
 */
export class DirectFile {
  readonly #file: FileHandle;
  /** One is filled while the other is written. */
  #current = alignedBuffer(PIECE, ALIGNMENT);
  #other = alignedBuffer(PIECE, ALIGNMENT);
  #filled = 0;
  #offset: number;
  #writing: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(file: FileHandle, offset = 0) {
    this.#file = file;
    this.#offset = offset;
  }

  static async create(path: string, mode: number): Promise<DirectFile> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
    try {
      return new DirectFile(await open(path, flags | constants.O_DIRECT, mode));
    } catch (error) {
      // Some filesystems make the file before they refuse the flag.
      if (!isErrno(error, 'EINVAL')) throw error;
      return new DirectFile(await open(path, (flags & ~constants.O_EXCL) | constants.O_TRUNC, mode));
    }
  }

  /**
   * Goes on writing a file that is there.
   * @param offset what it has that counts, in bytes: a multiple of {@link ALIGNMENT} unless nothing will be added
   */
  static async resume(path: string, offset: number): Promise<DirectFile> {
    const flags = constants.O_WRONLY | constants.O_NOFOLLOW;
    try {
      return new DirectFile(await open(path, flags | constants.O_DIRECT), offset);
    } catch (error) {
      if (!isErrno(error, 'EINVAL')) throw error;
      return new DirectFile(await open(path, flags), offset);
    }
  }

  /** Takes a copy of the bytes. Resolves when there is room for more; a failed write is told then, or by `finish`. */
  async append(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const length = Math.min(bytes.length - at, PIECE - this.#filled);
      this.#current.set(bytes.subarray(at, at + length), this.#filled);
      this.#filled += length;
      at += length;
      if (this.#filled === PIECE) await this.#swap(PIECE);
    }
  }

  async #swap(length: number): Promise<void> {
    await this.#writing;
    const full = this.#current;
    this.#writing = this.#write(full.subarray(0, length), this.#offset);
    // Waited for with the next piece.
    this.#writing.catch(() => undefined);
    this.#offset += this.#filled;
    this.#current = this.#other;
    this.#other = full;
    this.#filled = 0;
  }

  async #write(bytes: Buffer, offset: number): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      at += (await this.#file.write(bytes, at, bytes.length - at, offset + at)).bytesWritten;
    }
  }

  /** Writes the rest and closes. @throws what writing threw */
  async finish(): Promise<void> {
    if (this.#closed) return;
    const rest = this.#filled;
    if (rest > 0) {
      // Whole blocks, and then the end is cut off.
      const whole = (rest + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
      this.#current.fill(0, rest, whole);
      await this.#swap(whole);
    }
    await this.#writing;
    await this.#file.truncate(this.#offset);
    await this.close();
  }

  /** Lets go of the file, finished or not. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // Its error was told where it was waited for, or there is another one to tell.
    await this.#writing.catch(() => undefined);
    await this.#file.close();
  }
}
