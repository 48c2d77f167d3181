import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  unlinkSync,
} from 'node:fs';
import { createHash, type Hash } from 'node:crypto';
import { opendir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HOLE, ZEROS, ingestPlace, writeObject, writeWithHoles } from './object-file.js';
import { ObjectThread } from './object-thread.js';
import type { StorePaths } from './paths.js';
import { publishFolder } from './publish.js';

const PREFIX = /^[0-9a-f]{2}$/;
/** After so many bytes a second thread pays: creating files is most of an import's work. */
const THREAD_AFTER = 2 << 20;

/**
 * Writes the objects of one import. New ones gather in the ingest folder until `publish`, so that an import that fails
 * leaves nothing; what the store has already is not written.
 */
export class ObjectWriter {
  readonly #paths: StorePaths;
  readonly #folder: string;
  #thread: ObjectThread | undefined;
  #sequence = 0;
  #inline = 0;
  #newObjects = 0;
  #newBytes = 0;

  /** @param sessionFolder an ingest session's folder; it holds a folder `objects` */
  constructor(paths: StorePaths, sessionFolder: string) {
    this.#paths = paths;
    this.#folder = join(sessionFolder, 'objects');
  }

  /** Objects that this session added to the store, complete after `flush`. */
  get newObjects(): number {
    return this.#newObjects + (this.#thread?.newObjects ?? 0);
  }

  /** Bytes of content that this session added, complete after `flush`. */
  get newBytes(): number {
    return this.#newBytes + (this.#thread?.newBytes ?? 0);
  }

  /** Adds an object from memory unless it is there. The bytes are copied. Errors may come from `drain` or `flush`. */
  add(hex: string, bytes: Uint8Array): void {
    if (this.#thread !== undefined) {
      this.#thread.add(hex, bytes);
      return;
    }
    this.#inline += bytes.length;
    if (this.#inline > THREAD_AFTER) this.#thread = new ObjectThread(this.#folder, this.#paths.objects);
    if (!writeObject(this.#folder, this.#paths.objects, hex, bytes)) return;
    this.#newObjects++;
    this.#newBytes += bytes.length;
  }

  /** Waits until there is room for more. @throws what writing threw */
  async drain(): Promise<void> {
    await this.#thread?.drain();
  }

  /** Waits until everything that was added is written. @throws what writing threw */
  async flush(): Promise<void> {
    await this.#thread?.flush();
  }

  /** Ends the second thread; to be called in any case. */
  async close(): Promise<void> {
    await this.#thread?.close();
  }

  /** Starts an object that is too large for memory; its name is known at the end. */
  create(): LargeObject {
    return new LargeObject(join(this.#folder, `large-${this.#sequence++}`), (path, hex, size) => {
      const place = ingestPlace(this.#folder, hex);
      if (existsSync(place) || existsSync(this.#paths.object(hex))) {
        unlinkSync(path);
        return;
      }
      mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
      renameSync(path, place);
      this.#newObjects++;
      this.#newBytes += size;
    });
  }

  /**
   * Moves the new objects to their place. They must be flushed, and durable. A folder that the store has not yet is moved
   * as a whole: into an empty store that is a few hundred renames instead of one for each object.
   */
  async publish(): Promise<void> {
    for (const prefix of readdirSync(this.#folder)) {
      if (!PREFIX.test(prefix)) continue;
      const from = join(this.#folder, prefix);
      const to = join(this.#paths.objects, prefix);
      if (publishFolder(from, to)) continue;
      // The folder is the list: a million names are not kept in memory.
      for await (const { name } of await opendir(from, { bufferSize: 1024 })) {
        renameSync(join(from, name), join(to, name));
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

  /** Bytes so far, holes included. */
  get size(): number {
    return this.#size;
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
    try {
      ftruncateSync(this.#fd, this.#size);
    } finally {
      closeSync(this.#fd);
    }
    const digest = this.#hash.digest();
    this.#done(this.#path, digest.toString('hex'), this.#size);
    return digest;
  }

  /** Gives up; the file goes with the ingest folder. */
  abort(): void {
    closeSync(this.#fd);
  }
}
