import { closeSync, openSync, writeSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import { LayerfsError } from '../core/error.js';
import { FRAME_HEADER, MAX_FRAME, RECORD_MAGIC, RecordWriter, readFrame } from '../core/tar/record.js';
import type { Xxhash } from './hash.js';

const deflate = promisify(deflateRaw) as (bytes: Uint8Array, options: { level: number }) => Promise<Buffer>;
const inflateBytes = promisify(inflateRaw) as (
  bytes: Uint8Array,
  options: { maxOutputLength: number },
) => Promise<Buffer>;

/** Writes a tar record (docs/tar-record.md) to a file, frame by frame. */
export class RecordFileWriter {
  readonly writer = new RecordWriter();
  readonly #fd: number;
  readonly #hash: Xxhash;

  constructor(path: string, hash: Xxhash) {
    this.#hash = hash;
    this.#fd = openSync(path, 'wx', 0o400);
    try {
      writeSync(this.#fd, RECORD_MAGIC);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Writes the frame out once it is full. To be awaited after each chunk. */
  async drain(): Promise<void> {
    if (this.writer.full) await this.#frame();
  }

  /** Writes what is left and the closing frame, which tells the tar's size. */
  async finish(tarSize: number): Promise<void> {
    if (!this.writer.empty) await this.#frame();
    const end = Buffer.alloc(FRAME_HEADER);
    end.writeBigUInt64LE(BigInt(tarSize), 16);
    writeSync(this.#fd, end);
    this.close();
  }

  close(): void {
    closeSync(this.#fd);
  }

  async #frame(): Promise<void> {
    const { payload, operations, literals } = this.writer.take();
    const compressed = await deflate(payload, { level: 1 });
    const header = Buffer.alloc(FRAME_HEADER);
    header.writeUInt32LE(operations, 0);
    header.writeUInt32LE(literals, 4);
    header.writeUInt32LE(compressed.length, 8);
    header.writeBigUInt64LE(this.#hash.h64Raw(payload), 16);
    writeSync(this.#fd, header);
    writeSync(this.#fd, compressed);
  }
}

/** One step of giving back a tar. */
export type RecordStep =
  | { readonly kind: 'literal'; readonly bytes: Uint8Array }
  | { readonly kind: 'object'; readonly index: number; readonly offset: number; readonly length: number };

/**
 * Reads a tar record's steps in order.
 * @throws LayerfsError corrupt, naming the file, when a checksum or a length is wrong
 */
export async function* readRecordFile(path: string, hash: Xxhash): AsyncGenerator<RecordStep> {
  const file = await open(path, 'r');
  try {
    let at = RECORD_MAGIC.length;
    const magic = await readExactly(file, 0, at, path);
    if (!magic.equals(RECORD_MAGIC)) throw new LayerfsError('corrupt', `${path}: not a tar record`);
    for (;;) {
      const header = await readExactly(file, at, FRAME_HEADER, path);
      const operations = header.readUInt32LE(0);
      const literals = header.readUInt32LE(4);
      const length = header.readUInt32LE(8);
      if (operations === 0 && literals === 0) return;
      if (operations + literals > MAX_FRAME || length > MAX_FRAME * 2) {
        throw new LayerfsError('corrupt', `${path}: frame at byte ${at} is too large`);
      }
      const compressed = await readExactly(file, at + FRAME_HEADER, length, path);
      const payload = await inflateFrame(compressed, operations + literals, path, at);
      if (hash.h64Raw(payload) !== header.readBigUInt64LE(16)) {
        throw new LayerfsError('corrupt', `${path}: frame at byte ${at} has a wrong checksum`);
      }
      yield* readFrame(payload, operations);
      at += FRAME_HEADER + length;
    }
  } finally {
    await file.close();
  }
}

async function inflateFrame(bytes: Uint8Array, length: number, path: string, at: number): Promise<Uint8Array> {
  let payload: Buffer;
  try {
    payload = await inflateBytes(bytes, { maxOutputLength: length });
  } catch (error) {
    throw new LayerfsError('corrupt', `${path}: frame at byte ${at} does not inflate`, { cause: error });
  }
  if (payload.length !== length) throw new LayerfsError('corrupt', `${path}: frame at byte ${at} is too short`);
  return payload;
}

async function readExactly(file: FileHandle, at: number, length: number, path: string): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, at);
  if (bytesRead !== length) throw new LayerfsError('corrupt', `${path}: ends at byte ${at + bytesRead}`);
  return buffer;
}
