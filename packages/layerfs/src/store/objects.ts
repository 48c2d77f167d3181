import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { createHash, type Hash } from 'node:crypto';
import { opendir } from 'node:fs/promises';
import { join } from 'node:path';
import type { StorePaths } from './paths.js';

/** Aligned runs of zeros at least this long become holes. */
const HOLE = 64 * 1024;
const ZEROS = Buffer.alloc(HOLE);
const OBJECT_NAME = /^[0-9a-f]{64}$/;

/**
 * Writes the objects of one import. New ones gather in the ingest folder until `publish`, so that an import that fails
 * leaves nothing; what the store has already is not written.
 */
export class ObjectWriter {
  readonly #paths: StorePaths;
  readonly #folder: string;
  #sequence = 0;
  newObjects = 0;
  newBytes = 0;

  constructor(paths: StorePaths, sessionFolder: string) {
    this.#paths = paths;
    this.#folder = join(sessionFolder, 'objects');
  }

  /** Whether the store or this session has an object. */
  has(hex: string): boolean {
    return existsSync(this.#paths.object(hex)) || existsSync(join(this.#folder, hex));
  }

  /** Adds an object from memory unless it is there. */
  add(hex: string, bytes: Uint8Array): void {
    if (this.has(hex)) return;
    const fd = openSync(join(this.#folder, hex), 'wx', 0o444);
    try {
      writeWithHoles(fd, bytes, 0);
      if (bytes.length >= HOLE) ftruncateSync(fd, bytes.length);
    } finally {
      closeSync(fd);
    }
    this.#added(bytes.length);
  }

  /** Starts an object that is too large for memory; its name is known at the end. */
  create(): LargeObject {
    return new LargeObject(join(this.#folder, `large-${this.#sequence++}`), (path, hex, size) => {
      if (this.has(hex)) unlinkSync(path);
      else {
        renameSync(path, join(this.#folder, hex));
        this.#added(size);
      }
    });
  }

  #added(size: number): void {
    this.newObjects++;
    this.newBytes += size;
  }

  /** Moves the new objects to their place. Their data must be durable before. */
  async publish(): Promise<void> {
    // The folder is the list: a million names are not kept in memory.
    for await (const { name } of await opendir(this.#folder, { bufferSize: 1024 })) {
      if (!OBJECT_NAME.test(name)) continue;
      const source = join(this.#folder, name);
      const target = this.#paths.object(name);
      try {
        renameSync(source, target);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        mkdirSync(join(this.#paths.objects, name.slice(0, 2)), { recursive: true, mode: 0o700 });
        renameSync(source, target);
      }
    }
  }
}

/** One large object being written, hashed on the way. */
export class LargeObject {
  readonly #path: string;
  readonly #fd: number;
  readonly #hash: Hash = createHash('sha256');
  readonly #done: (path: string, hex: string, size: number) => void;
  #size = 0;

  constructor(path: string, done: (path: string, hex: string, size: number) => void) {
    this.#path = path;
    this.#fd = openSync(path, 'wx', 0o444);
    this.#done = done;
  }

  write(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    writeWithHoles(this.#fd, bytes, this.#size);
    this.#size += bytes.length;
  }

  /** Adds `length` zeros that take no space. */
  hole(length: number): void {
    for (let left = length; left > 0; left -= HOLE) {
      this.#hash.update(left >= HOLE ? ZEROS : ZEROS.subarray(0, left));
    }
    this.#size += length;
  }

  /** Names the object by its content; returns the sha256. */
  finish(): Buffer {
    ftruncateSync(this.#fd, this.#size);
    closeSync(this.#fd);
    const digest = this.#hash.digest();
    this.#done(this.#path, digest.toString('hex'), this.#size);
    return digest;
  }

  /** Gives up; the file goes with the ingest folder. */
  abort(): void {
    closeSync(this.#fd);
  }
}

/** Writes bytes at a file offset, leaving out aligned runs of zeros. The file's end is set by the caller. */
function writeWithHoles(fd: number, bytes: Uint8Array, offset: number): void {
  let start = 0;
  let at = (-offset & (HOLE - 1)) + 0;
  for (; at + HOLE <= bytes.length; at += HOLE) {
    if (bytes[at] !== 0 || ZEROS.compare(bytes, at, at + HOLE) !== 0) continue;
    writeAll(fd, bytes, start, at, offset);
    start = at + HOLE;
  }
  writeAll(fd, bytes, start, bytes.length, offset);
}

function writeAll(fd: number, bytes: Uint8Array, start: number, end: number, offset: number): void {
  for (let at = start; at < end;) at += writeSync(fd, bytes, at, end - at, offset + at);
}

/** Size of an object's content and of what it takes on disk, in bytes; undefined when it is missing. */
export function objectUsage(path: string): { size: number; disk: number } | undefined {
  try {
    const stats = statSync(path);
    return { size: stats.size, disk: stats.blocks * 512 };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Size of an open file. */
export function sizeOf(fd: number): number {
  return fstatSync(fd).size;
}
