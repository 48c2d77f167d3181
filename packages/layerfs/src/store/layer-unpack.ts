import { hash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { printable } from '../core/bytes.js';
import { LayerfsError } from '../core/error.js';
import { digestFromBytes, type DiffID } from '../core/digest.js';
import { TreeBuilder } from '../core/tree/builder.js';
import type { TarEntry } from '../core/tar/entry.js';
import { LayerReader } from '../core/tar/layer.js';
import { TarParser, type TarHandler } from '../core/tar/parser.js';
import type { Xxhash } from './hash.js';
import { ObjectList } from './object-list.js';
import { RecordFileWriter } from './record-file.js';

/** Files up to this size are hashed and written in one go; larger ones are streamed. */
const SMALL = 1 << 20;
const MAX_CHUNK = 1 << 19;
/** Largest layer that is taken when nobody says: what a bomb can cost is bounded, no known image comes near. */
export const DEFAULT_MAX_LAYER_SIZE = 128 * 2 ** 30;

/** Where content goes. */
export interface ObjectSink {
  /** Takes an object from memory; the bytes are valid until it returns. Errors may come from `drain` or `flush`. */
  add(hex: string, bytes: Uint8Array): void;
  /** Begins one that is too large for memory. */
  create(): LargeObjectSink;
  drain(): Promise<void>;
  flush(): Promise<void>;
}

/** One large object; its name is known at the end. */
export interface LargeObjectSink {
  /** Bytes so far, holes included. */
  readonly size: number;
  write(bytes: Uint8Array): void;
  hole(length: number): void;
  /** @returns the sha256 */
  finish(): Buffer;
  abort(): void;
}

/** Where the tar record goes. */
interface RecordSink {
  readonly writer: Pick<RecordFileWriter['writer'], 'literal' | 'object'>;
  drain(): Promise<void>;
}

/** A layer's uncompressed tar, to be read once, and its sha256 afterwards. */
export interface LayerTar extends AsyncIterable<Uint8Array> {
  digest(): Uint8Array;
}

/** What a layer's tar was turned into; its files lie in the folder given to {@link unpackLayer}. */
export interface UnpackedLayer {
  readonly diffID: DiffID;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
  /** Bytes of all files' content. */
  readonly contentSize: number;
  readonly entries: number;
  readonly objects: ObjectList;
}

function tooLarge(limit: number, what: string): LayerfsError {
  return new LayerfsError(
    'resource-exhausted',
    `${what} is larger than the limit of ${limit} bytes when uncompressed (--max-layer-size)`,
  );
}

/** Turns content into objects and everything else into tree and tar record. */
class Unpacker implements TarHandler {
  readonly tree = new TreeBuilder();
  readonly reader = new LayerReader(this.tree);
  readonly #record: RecordSink;
  readonly #objects: ObjectSink;
  #digests = Buffer.alloc(32 * 256);
  #sizes = new Float64Array(256);
  contentSize = 0;
  #entry: TarEntry | undefined;
  #ino = 0;
  /** Bytes of the entry's content that came so far. */
  #taken = 0;
  #dataSize = 0;
  #buffer = Buffer.alloc(0);
  #large: LargeObjectSink | undefined;
  #range = 0;
  #rangeTaken = 0;

  readonly #maxSize: number;

  constructor(record: RecordSink, objects: ObjectSink, maxSize: number) {
    this.#record = record;
    this.#objects = objects;
    this.#maxSize = maxSize;
  }

  literal(bytes: Uint8Array): void {
    this.#record.writer.literal(bytes);
  }

  entry(entry: TarEntry): void {
    this.#entry = entry;
    this.#ino = this.reader.add(entry);
    this.#taken = 0;
    this.#dataSize = entry.sparse === undefined ? entry.size : entry.sparse.reduce((sum, r) => sum + r.length, 0);
    this.contentSize += entry.size;
    // Holes cost no bytes of the tar, but the time to hash them.
    if (this.contentSize > this.#maxSize) throw tooLarge(this.#maxSize, `entry ${printable(entry.path)}: layer`);
    if (entry.sparse !== undefined || entry.size > SMALL) {
      if (entry.size > 0) this.#large = this.#objects.create();
      this.#range = 0;
      this.#rangeTaken = 0;
    }
  }

  content(bytes: Uint8Array): void {
    if (this.#large !== undefined) {
      if (this.#entry?.sparse === undefined) this.#large.write(bytes);
      else this.#sparseContent(this.#large, this.#entry.sparse, bytes);
    } else if (bytes.length === this.#dataSize) {
      // The common case: all of it lies in one chunk, and nothing is copied.
      this.#finish(hash('sha256', bytes, 'buffer'), bytes);
    } else {
      if (this.#taken === 0 && this.#buffer.length < this.#dataSize) this.#buffer = Buffer.alloc(SMALL);
      this.#buffer.set(bytes, this.#taken);
      if (this.#taken + bytes.length === this.#dataSize) {
        const whole = this.#buffer.subarray(0, this.#dataSize);
        this.#finish(hash('sha256', whole, 'buffer'), whole);
      }
    }
    this.#taken += bytes.length;
  }

  end(): void {
    const large = this.#large;
    const entry = this.#entry;
    if (large === undefined || entry === undefined) return;
    if (entry.sparse !== undefined) {
      // Also behind an empty range at the very end, for which no content comes.
      large.hole(entry.size - large.size);
    }
    this.#large = undefined;
    this.#finish(large.finish(), undefined);
  }

  #sparseContent(object: LargeObjectSink, ranges: NonNullable<TarEntry['sparse']>, bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      const range = ranges[this.#range];
      if (this.#rangeTaken === 0) {
        const before = this.#range === 0 ? 0 : ranges[this.#range - 1].offset + ranges[this.#range - 1].length;
        object.hole(range.offset - before);
      }
      const n = Math.min(range.length - this.#rangeTaken, bytes.length - at);
      object.write(bytes.subarray(at, at + n));
      at += n;
      this.#rangeTaken += n;
      if (this.#rangeTaken === range.length) {
        this.#range++;
        this.#rangeTaken = 0;
      }
    }
  }

  #finish(digest: Buffer, bytes: Uint8Array | undefined): void {
    const size = this.#entry?.size ?? 0;
    const known = this.tree.objectCount;
    const index = this.tree.addObject(digest);
    if (index === known) this.#remember(index, digest, size);
    // What the layer had before was written then.
    if (bytes !== undefined && index === known) this.#objects.add(digest.toString('hex'), bytes);
    if (this.#ino !== 0) this.tree.setContent(this.#ino, index, size);
    const sparse = this.#entry?.sparse;
    if (sparse === undefined) this.#record.writer.object(index, 0, size);
    else
      for (const range of sparse) if (range.length > 0) this.#record.writer.object(index, range.offset, range.length);
  }

  #remember(index: number, digest: Buffer, size: number): void {
    if (index === this.#sizes.length) {
      const sizes = new Float64Array(index * 2);
      sizes.set(this.#sizes);
      this.#sizes = sizes;
      const digests = Buffer.alloc(index * 64);
      digests.set(this.#digests);
      this.#digests = digests;
    }
    this.#sizes[index] = size;
    this.#digests.set(digest, index * 32);
  }

  list(): ObjectList {
    const count = this.tree.objectCount;
    return ObjectList.from(this.#digests.subarray(0, count * 32), this.#sizes);
  }

  /** Lets go of what an unfinished archive holds open. */
  abort(): void {
    this.#large?.abort();
    this.#large = undefined;
  }
}

/** What {@link deriveLayer} finds out. */
export interface DerivedLayer extends UnpackedLayer {
  /** The tree file's bytes. */
  readonly tree: Uint8Array;
}

/** How a tar is read. */
export interface UnpackOptions {
  readonly maxSize?: number;
  readonly signal?: AbortSignal;
}

/**
 * Unpacks an uncompressed layer tar: objects go to `objects`, and `tree`, `tar` and `objects` files into `folder`,
 * which exists. Memory does not grow with the size of files.
 * @throws LayerfsError of the tar (corrupt, invalid-argument), resource-exhausted beyond `maxSize`
 */
export async function unpackLayer(
  tar: LayerTar,
  folder: string,
  objects: ObjectSink,
  xxhash: Xxhash,
  options: UnpackOptions = {},
): Promise<UnpackedLayer> {
  const record = new RecordFileWriter(join(folder, 'tar'), xxhash);
  let derived: DerivedLayer;
  let finished = false;
  try {
    derived = await deriveLayer(tar, record, objects, xxhash, options);
    // Last, as it closes the file.
    await record.finish(derived.size);
    finished = true;
  } finally {
    if (!finished) record.close();
  }
  const { tree, ...unpacked } = derived;
  unpacked.objects.write(join(folder, 'objects'), xxhash);
  writeFileSync(join(folder, 'tree'), tree, { flag: 'wx', mode: 0o400 });
  return unpacked;
}

/** Reads an uncompressed layer tar and tells what it is as a layer. @throws as {@link unpackLayer} */
export async function deriveLayer(
  tar: LayerTar,
  record: RecordSink,
  objects: ObjectSink,
  xxhash: Xxhash,
  options: UnpackOptions = {},
): Promise<DerivedLayer> {
  const maxSize = options.maxSize ?? DEFAULT_MAX_LAYER_SIZE;
  const unpacker = new Unpacker(record, objects, maxSize);
  const parser = new TarParser(unpacker);
  let finished = false;
  try {
    for await (const chunk of tar) {
      if (options.signal?.aborted === true) throw new LayerfsError('aborted', 'interrupted');
      if (parser.offset + chunk.length > maxSize) {
        throw tooLarge(maxSize, 'layer');
      }
      for (let at = 0; at < chunk.length; at += MAX_CHUNK) {
        parser.push(chunk.length <= MAX_CHUNK ? chunk : chunk.subarray(at, at + MAX_CHUNK));
        await record.drain();
        await objects.drain();
      }
    }
    parser.finish();
    await objects.flush();
    finished = true;
  } finally {
    if (!finished) unpacker.abort();
  }
  const sum = tar.digest();
  return {
    diffID: digestFromBytes(sum) as DiffID,
    size: parser.offset,
    contentSize: unpacker.contentSize,
    entries: unpacker.reader.entries,
    objects: unpacker.list(),
    tree: unpacker.tree.finish({ layers: [sum], hash: xxhash }),
  };
}
