import { readFileSync, writeFileSync } from 'node:fs';
import { LayerfsError } from '../core/error.js';
import type { Xxhash } from './hash.js';

/** format: do not change. "LFSOBJL1" */
const MAGIC = Buffer.from('LFSOBJL1', 'latin1');
const RECORD = 40;

/**
 * A layer's objects in the order of first use, with their sizes: what the tar record's indexes mean, and what
 * reference counts and `du` add up. Format: docs/store.md.
 */
export class ObjectList {
  /** For each object its sha256 (32 bytes), then its size (u64). */
  readonly #bytes: Buffer;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Makes a list from digests (32 bytes each, in one piece) and sizes. */
  static from(digests: Uint8Array, sizes: ArrayLike<number>): ObjectList {
    const count = digests.length / 32;
    const bytes = Buffer.alloc(count * RECORD);
    for (let i = 0; i < count; i++) {
      bytes.set(digests.subarray(i * 32, i * 32 + 32), i * RECORD);
      bytes.writeBigUInt64LE(BigInt(sizes[i]), i * RECORD + 32);
    }
    return new ObjectList(bytes);
  }

  /** Reads a list. @throws LayerfsError corrupt naming the file */
  static read(path: string, hash: Xxhash): ObjectList {
    const file = readFileSync(path);
    const body = file.subarray(8, file.length - 8);
    if (!file.subarray(0, 8).equals(MAGIC) || file.length < 16 || body.length % RECORD !== 0) {
      throw new LayerfsError('corrupt', `${path}: not an object list`);
    }
    if (hash.h64Raw(body) !== file.readBigUInt64LE(file.length - 8)) {
      throw new LayerfsError('corrupt', `${path}: wrong checksum`);
    }
    return new ObjectList(body);
  }

  write(path: string, hash: Xxhash): void {
    const sum = Buffer.alloc(8);
    sum.writeBigUInt64LE(hash.h64Raw(this.#bytes));
    writeFileSync(path, Buffer.concat([MAGIC, this.#bytes, sum]), { flag: 'wx', mode: 0o400 });
  }

  equals(other: ObjectList): boolean {
    return this.#bytes.equals(other.#bytes);
  }

  get count(): number {
    return this.#bytes.length / RECORD;
  }

  /** The 64 hex digits of an object's sha256. */
  hex(index: number): string {
    return this.#bytes.toString('hex', index * RECORD, index * RECORD + 32);
  }

  /** The 32 bytes of an object's sha256. */
  digest(index: number): Buffer {
    return this.#bytes.subarray(index * RECORD, index * RECORD + 32);
  }

  size(index: number): number {
    return Number(this.#bytes.readBigUInt64LE(index * RECORD + 32));
  }
}
