import { createHash } from 'node:crypto';
import { LayerfsError } from '../../core/error.js';
import type { Compression } from './compression.js';
import { createDecoder } from './decoder.js';
import type { InflateThread, InflateThreads } from './thread.js';

/**
 * A gzip blob of at most so many bytes is inflated in this thread: starting another takes longer. At most 1,032 times
 * as much comes of it.
 */
const SMALL = 64 * 1024;
const PIECE = 256 * 1024;

type Packed = Exclude<Compression, 'none'>;

/**
 * The uncompressed bytes of a blob, to be read once, and their sha256. Each piece is valid until the next is asked for.
 * Errors of the decoder become LayerfsError corrupt, naming `what`; errors of the source pass unchanged.
 */
export class Inflated implements AsyncIterable<Uint8Array> {
  readonly #source: AsyncIterable<Uint8Array>;
  readonly #compression: Compression;
  readonly #what: string;
  readonly #threads: InflateThreads;
  #digest: Uint8Array | undefined;

  constructor(source: AsyncIterable<Uint8Array>, compression: Compression, what: string, threads: InflateThreads) {
    this.#source = source;
    this.#compression = compression;
    this.#what = what;
    this.#threads = threads;
  }

  /** The sha256 of all bytes, once they are read. */
  digest(): Uint8Array {
    if (this.#digest === undefined) throw new LayerfsError('internal', `${this.#what} was not read to its end`);
    return this.#digest;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    if (this.#compression === 'none') {
      yield* this.#hashed(this.#source);
      return;
    }
    const blob = new PeekedBlob(this.#source[Symbol.asyncIterator]());
    try {
      // Starting a thread for zstd is cheaper than to have what may come of a small blob in memory.
      if (this.#compression === 'gzip') await blob.peek(SMALL);
      if (blob.ended) yield* this.#here(blob, this.#compression);
      else yield* this.#there(blob, this.#compression);
    } finally {
      await blob.close();
    }
  }

  async *#hashed(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256');
    for await (const piece of pieces) {
      hash.update(piece);
      yield piece;
    }
    this.#digest = hash.digest();
  }

  async *#here(blob: PeekedBlob, compression: Packed): AsyncGenerator<Uint8Array> {
    const { pieces, error } = inflateHere(blob.head, compression, Infinity);
    yield* this.#hashed(pieces);
    if (error !== undefined) throw damaged(this.#what, compression, error);
  }

  async *#there(blob: PeekedBlob, compression: Packed): AsyncGenerator<Uint8Array> {
    const thread = this.#threads.take();
    thread.begin(compression);
    const feeding = blob.feed(thread);
    let finished = false;
    try {
      for (let piece = await thread.pull(); piece !== undefined; piece = await thread.pull()) {
        yield piece;
        thread.release();
      }
      this.#digest = thread.digest();
      finished = true;
    } catch (error) {
      if (error instanceof SourceError) throw error.cause;
      throw damaged(this.#what, compression, error);
    } finally {
      blob.stop();
      thread.fail(new Error('no longer read'));
      await feeding;
      await this.#threads.give(thread, finished);
    }
  }
}

/**
 * The beginning of what a blob's beginning holds, which may be cut anywhere: at most `limit` bytes, fewer and an error
 * where it does not go on.
 */
export function inflateHead(
  head: Uint8Array,
  compression: Packed,
  limit: number,
): { bytes: Uint8Array; error?: Error } {
  const { pieces, error } = inflateHere([head], compression, limit);
  const bytes = Buffer.concat(pieces).subarray(0, limit);
  return error === undefined ? { bytes } : { bytes, error };
}

/** The pieces of a blob, the first of which can be looked at before they are read. */
class PeekedBlob {
  readonly head: Uint8Array[] = [];
  ended = false;
  readonly #source: AsyncIterator<Uint8Array>;
  #stopped = false;

  constructor(source: AsyncIterator<Uint8Array>) {
    this.#source = source;
  }

  /** Reads more than `length` bytes, or all. */
  async peek(length: number): Promise<void> {
    for (let have = 0; have <= length && !this.ended;) {
      const { done, value } = await this.#source.next();
      if (done === true) this.ended = true;
      else {
        this.head.push(value);
        have += value.length;
      }
    }
  }

  /** Hands everything to a thread, until that or whoever reads wants no more. Errors go to the reader. */
  async feed(thread: InflateThread): Promise<void> {
    try {
      for (const piece of this.head.splice(0)) await thread.push(piece);
      while (!this.#stopped) {
        const { done, value } = await this.#source.next();
        if (done === true) break;
        await thread.push(value);
      }
      if (!this.#stopped) await thread.finish();
    } catch (error) {
      thread.fail(new SourceError(error));
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }
}

/** Tells an error of the source from one of the decoder. */
class SourceError extends Error {
  constructor(cause: unknown) {
    super('reading failed', { cause });
  }
}

function inflateHere(
  parts: readonly Uint8Array[],
  compression: Packed,
  limit: number,
): { pieces: Uint8Array[]; error?: Error } {
  const pieces: Uint8Array[] = [];
  const enough = new Error('enough');
  let piece = Buffer.alloc(0);
  let filled = 0;
  let total = 0;
  const keep = (): void => {
    if (filled > 0) pieces.push(piece.subarray(0, filled));
    filled = 0;
  };
  const decoder = createDecoder(compression, {
    room: () => {
      if (total >= limit) throw enough;
      if (filled === piece.length) {
        keep();
        piece = Buffer.alloc(PIECE);
      }
      return piece.subarray(filled);
    },
    advance: (length) => {
      filled += length;
      total += length;
    },
  });
  let failure: unknown;
  try {
    for (const part of parts) decoder.push(part, false);
    decoder.push(new Uint8Array(), true);
  } catch (error) {
    failure = error;
  }
  decoder.close();
  keep();
  return failure === undefined || failure === enough ? { pieces } : { pieces, error: failure as Error };
}

function damaged(what: string, compression: Packed, cause: unknown): LayerfsError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new LayerfsError('corrupt', `${what}: ${compression} data is damaged or truncated (${message})`, { cause });
}
