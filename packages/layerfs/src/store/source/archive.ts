/** An uncompressed tar on disk as a folder of files: its headers are read once, contents where and when they are wanted. */
import { createReadStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { printable, utf8ToLatin1 } from '../../core/bytes.js';
import { LayerfsError } from '../../core/error.js';
import { EntryReader } from '../../core/tar/entry.js';
import { BLOCK, isZeroBlock, parseHeader } from '../../core/tar/header.js';
import { MAX_DOCUMENT } from '../../core/oci/json.js';

/** More entries than any image archive has; bounds the memory of the table. */
const MAX_ENTRIES = 1_000_000;
const MAX_META = 1 << 20;
const WINDOW = 64 * 1024;
const MAX_LINKS = 8;

type Entry = { readonly offset: number; readonly size: number } | { readonly link: string };

/** The files of an archive. Paths are byte strings without `./`. */
export class Archive {
  readonly #path: string;
  readonly #entries = new Map<string, Entry>();

  private constructor(path: string) {
    this.#path = path;
  }

  /** Reads all headers. @throws LayerfsError corrupt or invalid-argument when it is not a sound tar */
  static async read(path: string, file: FileHandle): Promise<Archive> {
    const archive = new Archive(path);
    await archive.#scan(file);
    return archive;
  }

  /** Whether there is a file, or a link to one. */
  has(path: string): boolean {
    return this.#find(path) !== undefined;
  }

  /** Size in bytes; undefined when there is no such file. */
  size(path: string): number | undefined {
    return this.#find(path)?.size;
  }

  /** A file's bytes. @throws LayerfsError not-found */
  open(path: string): AsyncIterable<Uint8Array> {
    const entry = this.#find(path);
    if (entry === undefined) throw missing(path);
    if (entry.size === 0) return none();
    return createReadStream(this.#path, {
      start: entry.offset,
      end: entry.offset + entry.size - 1,
      highWaterMark: 512 * 1024,
    });
  }

  /** A small file as a whole. @throws LayerfsError not-found, invalid-argument above the limit of documents */
  async document(path: string): Promise<Uint8Array> {
    const size = this.size(path);
    if (size === undefined) throw missing(path);
    if (size > MAX_DOCUMENT) {
      throw new LayerfsError(
        'invalid-argument',
        `${path} has ${size} bytes; more than ${MAX_DOCUMENT} are not accepted`,
      );
    }
    const parts: Uint8Array[] = [];
    for await (const part of this.open(path)) parts.push(part);
    return Buffer.concat(parts);
  }

  #find(path: string): { readonly offset: number; readonly size: number } | undefined {
    let name: string | undefined = utf8ToLatin1(path);
    for (let links = 0; links <= MAX_LINKS && name !== undefined; links++) {
      const entry: Entry | undefined = this.#entries.get(name);
      if (entry === undefined || 'offset' in entry) return entry;
      name = entry.link;
    }
    return undefined;
  }

  async #scan(file: FileHandle): Promise<void> {
    const reader = new EntryReader();
    const window = new Window(file);
    let at = 0;
    for (;;) {
      const block = await window.read(at, BLOCK);
      if (block.length === 0) break;
      if (block.length < BLOCK)
        throw new LayerfsError('corrupt', `the archive is truncated at byte ${at + block.length}`);
      if (isZeroBlock(block)) break;
      const header = parseHeader(block, at);
      at += BLOCK;
      if (EntryReader.isMeta(header.type)) {
        if (header.size > MAX_META) {
          throw new LayerfsError(
            'corrupt',
            `tar header at byte ${at - BLOCK}: an extended header of ${header.size} bytes`,
          );
        }
        const body = await window.read(at, header.size);
        if (body.length < header.size) throw new LayerfsError('corrupt', `the archive is truncated at byte ${at}`);
        reader.meta(header, Uint8Array.from(body), at);
        at += header.size + (-header.size & (BLOCK - 1));
        continue;
      }
      if (header.type === 'S') throw sparse(header.name);
      const { entry, dataSize, sparse: ranges } = reader.entry(header, at - BLOCK);
      if (ranges !== undefined) throw sparse(entry.path);
      if (this.#entries.size >= MAX_ENTRIES) {
        throw new LayerfsError('invalid-argument', `the archive has more than ${MAX_ENTRIES} entries`);
      }
      const name = normal(entry.path.split('/'));
      if (name !== undefined && entry.type === 'file') this.#entries.set(name, { offset: at, size: dataSize });
      else if (name !== undefined && (entry.type === 'symlink' || entry.type === 'hardlink')) {
        const folder = entry.type === 'symlink' ? name.split('/').slice(0, -1) : [];
        const link = entry.linkname.startsWith('/') ? undefined : normal([...folder, ...entry.linkname.split('/')]);
        if (link !== undefined) this.#entries.set(name, { link });
      }
      at += dataSize + (-dataSize & (BLOCK - 1));
    }
    const { size } = await file.stat();
    for (const [name, entry] of this.#entries) {
      if ('offset' in entry && entry.offset + entry.size > size) {
        throw new LayerfsError('corrupt', `the archive is truncated: it ends inside ${printable(name)}`);
      }
    }
  }
}

/**
 * Whether the first bytes of an uncompressed tar look like an image archive rather than a root filesystem. A guess:
 * headers that it cannot follow are for whoever reads the whole tar to judge.
 */
export function looksLikeArchive(head: Uint8Array): boolean {
  try {
    return hasArchiveName(head);
  } catch (error) {
    if (error instanceof LayerfsError) return false;
    throw error;
  }
}

function hasArchiveName(head: Uint8Array): boolean {
  for (let at = 0; at + BLOCK <= head.length;) {
    const block = head.subarray(at, at + BLOCK);
    if (isZeroBlock(block)) return false;
    const header = parseHeader(block, at);
    const name = normal(header.name.split('/'));
    if (!EntryReader.isMeta(header.type) && name !== undefined) {
      const top = name.split('/')[0];
      if (/^(?:blobs|oci-layout|repositories|[0-9a-f]{64}|[^/]+\.json|[0-9a-f]{64}\.tar)$/.test(top)) return true;
    }
    at += BLOCK + header.size + (-header.size & (BLOCK - 1));
  }
  return false;
}

/** The path without `.` and empty parts; undefined for the root and for one that leaves it. */
function normal(parts: readonly string[]): string | undefined {
  const out: string[] = [];
  for (const part of parts) {
    if (part === '' || part === '.') continue;
    if (part !== '..') out.push(part);
    else if (out.pop() === undefined) return undefined;
  }
  return out.length === 0 ? undefined : out.join('/');
}

/** Reads headers a window at a time: most lie close together. */
class Window {
  readonly #file: FileHandle;
  #bytes = Buffer.alloc(0);
  #start = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async read(at: number, length: number): Promise<Buffer> {
    if (at < this.#start || at + length > this.#start + this.#bytes.length) {
      const buffer = Buffer.alloc(Math.max(length, WINDOW));
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, at);
      this.#bytes = buffer.subarray(0, bytesRead);
      this.#start = at;
    }
    return this.#bytes.subarray(at - this.#start, at - this.#start + length);
  }
}

async function* none(): AsyncGenerator<Uint8Array> {
  // An empty file.
}

function missing(path: string): LayerfsError {
  return new LayerfsError('not-found', `${path} is missing in the archive`);
}

function sparse(name: string): LayerfsError {
  return new LayerfsError('unimplemented', `${printable(name)}: a sparse file in an image archive`);
}
