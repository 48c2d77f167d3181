import { Readable, Transform, type TransformCallback } from 'node:stream';
import * as zlib from 'node:zlib';
import { Decompress } from 'fzstd';
import { LayerfsError } from '../core/error.js';

/** How a layer blob is compressed. */
export type Compression = 'none' | 'gzip' | 'zstd';

const CHUNK = 512 * 1024;

function starts(bytes: Uint8Array, ...magic: number[]): boolean {
  return magic.every((byte, i) => bytes[i] === byte);
}

/**
 * Recognises compression by the first bytes, because media types are wrong often enough.
 * @throws LayerfsError unimplemented for xz, bzip2 and lzma
 */
export function sniffCompression(head: Uint8Array): Compression {
  if (starts(head, 0x1f, 0x8b)) return 'gzip';
  if (starts(head, 0x28, 0xb5, 0x2f, 0xfd)) return 'zstd';
  // A skippable zstd frame, with which some writers begin.
  if (starts(head.subarray(1), 0x2a, 0x4d, 0x18) && (head[0] & 0xf0) === 0x50) return 'zstd';
  if (starts(head, 0xfd, 0x37, 0x7a, 0x58, 0x5a, 0)) throw unsupported('xz');
  if (starts(head, 0x42, 0x5a, 0x68)) throw unsupported('bzip2');
  if (starts(head, 0x5d, 0, 0)) throw unsupported('lzma');
  return 'none';
}

function unsupported(name: string): LayerfsError {
  return new LayerfsError(
    'unimplemented',
    `${name} compression is not supported: decompress it first, or use gzip or zstd`,
  );
}

/** Node's own decoder where it has one (22.15 and later), undefined elsewhere. */
function nativeZstd(): Transform | undefined {
  const make = (zlib as { createZstdDecompress?: (options: { chunkSize: number }) => Transform }).createZstdDecompress;
  return make?.({ chunkSize: CHUNK });
}

/** fzstd as a stream: pure JavaScript, several frames and skippable ones included. */
class FzstdStream extends Transform {
  readonly #decoder = new Decompress((chunk) => {
    this.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  });

  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    this.#run(() => this.#decoder.push(chunk), done);
  }

  override _flush(done: TransformCallback): void {
    this.#run(() => this.#decoder.push(new Uint8Array(0), true), done);
  }

  #run(action: () => void, done: TransformCallback): void {
    try {
      action();
      done();
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

/**
 * The uncompressed bytes of a blob. Errors of the decoder become LayerfsError corrupt, naming `what`; errors of the
 * source pass unchanged.
 */
export async function* inflate(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  what: string,
): AsyncGenerator<Uint8Array> {
  if (compression === 'none') {
    yield* source;
    return;
  }
  const decoder =
    compression === 'gzip'
      ? zlib.createGunzip({ chunkSize: CHUNK, readableObjectMode: true, readableHighWaterMark: 8 } as zlib.ZlibOptions)
      : (nativeZstd() ?? new FzstdStream());
  let failure: unknown;
  const input = Readable.from(source, { objectMode: true, highWaterMark: 4 });
  input.on('error', (error) => {
    failure = error;
    decoder.destroy(error);
  });
  input.pipe(decoder);
  try {
    for await (const chunk of decoder) yield chunk as Uint8Array;
  } catch (error) {
    if (failure !== undefined) throw failure;
    if (error instanceof LayerfsError) throw error;
    throw new LayerfsError('corrupt', `${what}: ${compression} data is damaged or truncated (${message(error)})`, {
      cause: error,
    });
  } finally {
    input.destroy();
    decoder.destroy();
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
