import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { ErrnoError, ficlone } from '@layerfs/linux';
import { digestFromBytes, type Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { checkAborted } from '../errors.js';
import { DirectFile } from './direct-file.js';

/** What is known of a blob before it is read. */
export interface IntakeOptions {
  readonly what: string;
  readonly digest?: Digest;
  readonly size?: number;
  readonly onBytes: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * A blob on its way into the store: hashed, counted and written while somebody else reads it. Who stops reading early
 * does not end it: `finish` takes the rest, so that the digest covers all of the blob.
 */
export class BlobIntake implements AsyncIterable<Uint8Array> {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #options: IntakeOptions;
  readonly #hash = createHash('sha256');
  readonly #pending: Uint8Array[] = [];
  #size = 0;
  #ended = false;
  /** What reading the source threw: who reads on is told it again, not that bytes are missing. */
  #failure: unknown;
  #file: DirectFile | undefined;
  /** So many of the first bytes the file has. */
  #have = 0;
  #resumable = false;

  constructor(source: AsyncIterable<Uint8Array>, options: IntakeOptions) {
    this.#source = source[Symbol.asyncIterator]();
    this.#options = options;
  }

  /** The first bytes, which stay to be read: at least `length` unless the blob is shorter. */
  async head(length: number): Promise<Uint8Array> {
    let have = 0;
    for (const part of this.#pending) have += part.length;
    while (have < length) {
      const { done, value } = await this.#read();
      if (done === true) break;
      this.#pending.push(value);
      have += value.length;
    }
    return Buffer.concat(this.#pending);
  }

  /** From now on what is read is also written to a new file. */
  async keep(path: string): Promise<void> {
    this.#file = await DirectFile.create(path, 0o400);
  }

  /** As {@link keep}, in a file that has the first `have` bytes already. */
  async keepRest(path: string, have: number): Promise<void> {
    this.#file = await DirectFile.resume(path, have);
    this.#have = have;
    this.#resumable = true;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.#next() };
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    checkAborted(this.#options.signal);
    const next = this.#pending.shift();
    const { done, value } = next === undefined ? await this.#read() : { done: false as const, value: next };
    if (done === true) {
      this.#ended = true;
      return { done, value: undefined };
    }
    const { size } = this.#options;
    if (size !== undefined && this.#size + value.length > size) {
      throw new LayerfsError('corrupt', `${this.#options.what} has more than the ${size} bytes of its descriptor`);
    }
    const known = Math.min(value.length, Math.max(0, this.#have - this.#size));
    if (known < value.length) await this.#file?.append(value.subarray(known));
    this.#hash.update(value);
    this.#size += value.length;
    this.#options.onBytes(value.length);
    return { done: false, value };
  }

  async #read(): Promise<IteratorResult<Uint8Array>> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return await this.#source.next();
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  /** Reads what is left and verifies. @throws LayerfsError corrupt when size or digest are not as expected */
  async finish(): Promise<{ digest: Digest; size: number }> {
    while (!this.#ended) await this.#next();
    await this.#file?.finish();
    const { what, size, digest } = this.#options;
    if (size !== undefined && size !== this.#size) {
      throw new LayerfsError('corrupt', `${what} has a size of ${this.#size} bytes instead of ${size}`);
    }
    const found = digestFromBytes(this.#hash.digest());
    if (digest !== undefined && digest !== found) {
      throw new LayerfsError('corrupt', `${what} is damaged: its content has digest ${found} instead of ${digest}`);
    }
    return { digest: found, size: this.#size };
  }

  /** Lets go of everything, finished or not. */
  async close(): Promise<void> {
    // What has come is kept, as far as it can be.
    if (this.#resumable) await this.#file?.finish().catch(() => undefined);
    await this.#file?.close();
    await this.#source.return?.();
  }
}

/**
 * Makes `target` share the blocks of `file`, where the filesystem can. What is read is then the copy, which nobody changes.
 * @returns whether it could
 */
export function cloneBlob(file: string, target: string): boolean {
  const from = openSync(file, constants.O_RDONLY);
  try {
    const to = openSync(target, 'wx', 0o400);
    try {
      ficlone(to, from);
      return true;
    } catch (error) {
      // Another filesystem, or one without shared blocks.
      if (!(error instanceof ErrnoError)) throw error;
      unlinkSync(target);
      return false;
    } finally {
      closeSync(to);
    }
  } finally {
    closeSync(from);
  }
}

/** Reads a file, or its first `length` bytes (at least one), in large pieces. */
export function readFileStream(path: string, length = Number.POSITIVE_INFINITY): AsyncIterable<Uint8Array> {
  return createReadStream(path, { highWaterMark: 512 * 1024, end: length - 1 });
}
