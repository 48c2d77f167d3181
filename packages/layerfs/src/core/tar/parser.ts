/**
 * Reads a tar that arrives in pieces. Every byte is handed on exactly once: as content of a regular file, or as a
 * literal (headers, padding, the end mark and whatever follows it), so that the archive can be given back bit for bit.
 *
 * tar-stream is not used here: it drops the literal bytes, and one stream object a file makes it slower than inflating.
 */
import { printable } from '../bytes.js';
import { LayerfsError } from '../error.js';
import { BLOCK, isZeroBlock, parseHeader, type TarHeader } from './header.js';
import { EntryReader, type TarEntry } from './entry.js';
import { SparseMapReader, checkRanges, type SparseRange } from './sparse.js';

/** Receives what a {@link TarParser} finds. Views are valid until the call returns. */
export interface TarHandler {
  /** Bytes that are no file content, in order. */
  literal(bytes: Uint8Array): void;
  /** A new entry. For a regular file `content` follows until `end`; for everything else just `end`. */
  entry(entry: TarEntry): void;
  /** Content as it lies in the archive: of a sparse file only the data ranges, one behind the other. */
  content(bytes: Uint8Array): void;
  end(): void;
}

/** A PAX header or long name that is larger is refused before memory is taken. */
const MAX_META = 1 << 20;

type State = 'header' | 'meta' | 'old-sparse' | 'sparse-map' | 'content' | 'padding' | 'trailer';

/** A push parser for one archive. After `finish()` or an error it is of no further use. */
export class TarParser {
  readonly #handler: TarHandler;
  readonly #reader = new EntryReader();
  readonly #block: Uint8Array = new Uint8Array(BLOCK);
  #blockFill = 0;
  #state: State = 'header';
  #offset = 0;
  #zeroBlocks = 0;
  /** Bytes left of content or padding. */
  #left = 0;
  #padding = 0;
  #header: TarHeader | undefined;
  #meta: Uint8Array | undefined;
  #metaFill = 0;
  #ranges: SparseRange[] = [];
  #sparseSize = 0;
  #map: SparseMapReader | undefined;

  constructor(handler: TarHandler) {
    this.#handler = handler;
  }

  /** Bytes taken so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Takes the next bytes. @throws LayerfsError corrupt, invalid-argument or unimplemented, naming offset and field */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      const taken = this.#step(chunk, at);
      at += taken;
      this.#offset += taken;
    }
  }

  /** The archive ended here. @throws LayerfsError corrupt when that was in the middle of something */
  finish(): void {
    if (this.#state === 'trailer') return;
    if (this.#state !== 'header' || this.#blockFill !== 0) {
      throw new LayerfsError('corrupt', `tar is truncated: it ends at byte ${this.#offset}${this.#inside()}`);
    }
    this.#reader.finish(this.#offset);
  }

  #inside(): string {
    return this.#header === undefined ? '' : ` inside the entry ${printable(this.#header.name)}`;
  }

  #step(chunk: Uint8Array, at: number): number {
    switch (this.#state) {
      case 'content':
        return this.#content(chunk, at);
      case 'padding': {
        const n = Math.min(this.#left, chunk.length - at);
        this.#handler.literal(chunk.subarray(at, at + n));
        this.#left -= n;
        if (this.#left === 0) this.#state = 'header';
        return n;
      }
      case 'meta':
        return this.#collectMeta(chunk, at);
      case 'trailer':
        this.#handler.literal(at === 0 ? chunk : chunk.subarray(at));
        return chunk.length - at;
      case 'header':
      case 'old-sparse':
      case 'sparse-map':
      default:
        return this.#collectBlock(chunk, at);
    }
  }

  #collectBlock(chunk: Uint8Array, at: number): number {
    let block = this.#block;
    let taken: number;
    if (this.#blockFill === 0 && chunk.length - at >= BLOCK) {
      block = chunk.subarray(at, at + BLOCK);
      taken = BLOCK;
    } else {
      taken = Math.min(BLOCK - this.#blockFill, chunk.length - at);
      block.set(chunk.subarray(at, at + taken), this.#blockFill);
      this.#blockFill += taken;
      if (this.#blockFill < BLOCK) return taken;
      this.#blockFill = 0;
    }
    this.#handler.literal(block);
    const start = this.#offset + taken - BLOCK;
    if (this.#state === 'header') this.#takeHeader(block, start);
    else if (this.#state === 'old-sparse') this.#takeSparseBlock(block, start);
    else this.#takeMapBlock(block, start);
    return taken;
  }

  #takeHeader(block: Uint8Array, start: number): void {
    if (block[0] === 0 && isZeroBlock(block)) {
      if (++this.#zeroBlocks === 2) {
        this.#reader.finish(start);
        this.#state = 'trailer';
      }
      return;
    }
    if (this.#zeroBlocks !== 0) {
      throw new LayerfsError('corrupt', `tar: a lone zero block before byte ${start}, and entries behind it`);
    }
    const header = parseHeader(block, start);
    this.#header = header;
    if (EntryReader.isMeta(header.type)) {
      if (header.size > MAX_META) {
        throw new LayerfsError(
          'corrupt',
          `tar header at byte ${start}: an extended header of ${header.size} bytes is too large`,
        );
      }
      this.#meta = new Uint8Array(header.size);
      this.#metaFill = 0;
      this.#padding = -header.size & (BLOCK - 1);
      if (header.size === 0) this.#endMeta();
      else this.#state = 'meta';
    } else if (header.type === 'S') {
      const sparse = this.#reader.oldSparse(block, start);
      this.#ranges = sparse.ranges;
      this.#sparseSize = sparse.size;
      if (sparse.more) this.#state = 'old-sparse';
      else this.#begin(header, start);
    } else this.#begin(header, start);
  }

  #takeSparseBlock(block: Uint8Array, start: number): void {
    const more = this.#reader.moreSparse(block, start, this.#ranges);
    if (!more && this.#header !== undefined) this.#begin(this.#header, start);
  }

  /** All headers of an entry are read. */
  #begin(header: TarHeader, start: number): void {
    const { entry, dataSize, sparse } = this.#reader.entry(header, start);
    this.#left = dataSize;
    this.#padding = -dataSize & (BLOCK - 1);
    if (header.type === 'S') {
      checkRanges(this.#ranges, this.#sparseSize, dataSize, start);
      this.#open({ ...entry, size: this.#sparseSize, sparse: this.#ranges });
      this.#ranges = [];
    } else if (sparse === 'map') {
      this.#pending = entry;
      this.#map = new SparseMapReader(start);
      this.#state = 'sparse-map';
    } else {
      if (sparse !== undefined) checkRanges(sparse, entry.size, dataSize, start);
      this.#open(sparse === undefined ? entry : { ...entry, sparse });
    }
  }

  #pending: TarEntry | undefined;

  #takeMapBlock(block: Uint8Array, start: number): void {
    if (this.#left < BLOCK) throw new LayerfsError('corrupt', `sparse map at byte ${start}: longer than the entry`);
    this.#left -= BLOCK;
    const ranges = this.#map?.push(block);
    if (ranges === undefined || this.#pending === undefined) return;
    checkRanges(ranges, this.#pending.size, this.#left, start);
    const entry = { ...this.#pending, sparse: ranges };
    this.#pending = undefined;
    this.#map = undefined;
    this.#open(entry);
  }

  #open(entry: TarEntry): void {
    this.#handler.entry(entry);
    if (this.#left === 0) this.#close();
    else this.#state = 'content';
  }

  #close(): void {
    this.#handler.end();
    this.#header = undefined;
    this.#left = this.#padding;
    this.#state = this.#left === 0 ? 'header' : 'padding';
  }

  #content(chunk: Uint8Array, at: number): number {
    const n = Math.min(this.#left, chunk.length - at);
    this.#handler.content(chunk.subarray(at, at + n));
    this.#left -= n;
    if (this.#left === 0) this.#close();
    return n;
  }

  #collectMeta(chunk: Uint8Array, at: number): number {
    const meta = this.#meta ?? new Uint8Array();
    const n = Math.min(meta.length - this.#metaFill, chunk.length - at);
    const part = chunk.subarray(at, at + n);
    meta.set(part, this.#metaFill);
    this.#handler.literal(part);
    this.#metaFill += n;
    if (this.#metaFill === meta.length) this.#endMeta(n);
    return n;
  }

  #endMeta(taken = 0): void {
    const header = this.#header;
    if (header !== undefined && this.#meta !== undefined) {
      this.#reader.meta(header, this.#meta, this.#offset + taken - this.#meta.length);
    }
    this.#meta = undefined;
    this.#left = this.#padding;
    this.#state = this.#left === 0 ? 'header' : 'padding';
  }
}
