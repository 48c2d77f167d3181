import * as zlib from 'node:zlib';
import { Decompress } from 'fzstd';
import type { Compression } from './compression.js';

/** Where a decoder puts what it gives. */
export interface Sink {
  /** Memory to write to, never empty. May block, or throw to end the decoding. */
  room(): Uint8Array;
  /** The first `length` bytes of what `room` gave are written. */
  advance(length: number): void;
}

/** Decompresses in the calling thread, into memory that the caller uses again and again. */
export interface Decoder {
  /**
   * Takes the next bytes of a blob and gives all that can be told by now. What follows the end of the compressed data is
   * ignored.
   * @param last no more bytes come
   * @throws Error of the decoder: the data is damaged, or ends too early
   */
  push(bytes: Uint8Array, last: boolean): void;
  close(): void;
}

/** A decoder; Node's own where it has one (zstd: 22.15 and later). */
export function createDecoder(compression: Exclude<Compression, 'none'>, sink: Sink): Decoder {
  if (compression === 'gzip') return new NativeDecoder(zlib.createGunzip(), sink, false);
  const { createZstdDecompress } = zlib as { createZstdDecompress?: () => object };
  return createZstdDecompress === undefined
    ? new FzstdDecoder(sink)
    : new NativeDecoder(createZstdDecompress(), sink, true);
}

/** What lies beneath the streams of node:zlib, and is the only way to have the output written to memory of one's own. */
interface ZlibHandle {
  onerror: (message: string, errno: number, code: string) => void;
  writeSync(
    flush: number,
    input: Uint8Array,
    inputOffset: number,
    inputLength: number,
    output: Uint8Array,
    outputOffset: number,
    outputLength: number,
  ): void;
  close(): void;
}

interface ZlibStream {
  readonly _handle: ZlibHandle;
  /** After a write: room left in the output, bytes left of the input. */
  readonly _writeState: Uint32Array;
}

/**
 * The stream's own output would be a new buffer for each piece: filling fresh memory costs more than inflating does
 * (170 MB: 0.27 s against 1.1 s).
 */
class NativeDecoder implements Decoder {
  readonly #stream: ZlibStream;
  readonly #sink: Sink;
  readonly #stops: boolean;
  #ended = false;
  #error: Error | undefined;

  /** @param stops whether it stops at the end of a frame, where more may follow (gzip's members it strings together itself) */
  constructor(stream: object, sink: Sink, stops: boolean) {
    this.#stream = stream as ZlibStream;
    this.#sink = sink;
    this.#stops = stops;
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- it has no other
    this.#stream._handle.onerror = (message, _, code) => {
      this.#error = Object.assign(new Error(message), { code });
    };
  }

  push(bytes: Uint8Array, last: boolean): void {
    const { _handle: handle, _writeState: state } = this.#stream;
    // The end of the input is told with a write of its own.
    const flush = last ? zlib.constants.Z_FINISH : zlib.constants.Z_NO_FLUSH;
    for (let at = 0; !this.#ended;) {
      const room = this.#sink.room();
      handle.writeSync(flush, bytes, at, bytes.length - at, room, 0, room.length);
      if (this.#error !== undefined) throw this.#error;
      const [roomLeft, inputLeft] = state;
      this.#sink.advance(room.length - roomLeft);
      const taken = bytes.length - inputLeft - at;
      at += taken;
      if (roomLeft === 0) continue;
      if (this.#stops && inputLeft > 0 && (taken > 0 || roomLeft < room.length)) continue;
      // There was room, and still it does not want more: the compressed data has ended.
      this.#ended = inputLeft > 0;
      return;
    }
  }

  close(): void {
    this.#stream._handle.close();
  }
}

/** fzstd: pure JavaScript, several frames and skippable ones included. */
class FzstdDecoder implements Decoder {
  readonly #decoder: Decompress;

  constructor(sink: Sink) {
    this.#decoder = new Decompress((chunk) => {
      for (let at = 0; at < chunk.length;) {
        const room = sink.room();
        const length = Math.min(room.length, chunk.length - at);
        room.set(chunk.subarray(at, at + length));
        sink.advance(length);
        at += length;
      }
    });
  }

  push(bytes: Uint8Array, last: boolean): void {
    // It keeps what it cannot use yet: a copy, because the caller's memory changes. Not `slice`, which of a Buffer is none.
    this.#decoder.push(new Uint8Array(bytes), last);
  }

  close(): void {
    // Nothing but memory.
  }
}
