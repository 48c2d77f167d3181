/** Lays a tree file out in memory: allocates it exactly, hands out its sections to be filled, then seals it. */
import { LayerfsError } from '../error.js';
import {
  ALIGNMENT,
  DIGEST_SIZE,
  DIRENT_WORDS,
  HEADER,
  HEADER_FIXED,
  HEADER_SIZE,
  INODE_WORDS,
  LINK_WORDS,
  MAGIC_HIGH,
  MAGIC_LOW,
  ROW,
  SECTIONS,
  SECTION_ROW,
  type SectionName,
  VERSION,
} from './format.js';
import { type Xxh64, xxh64 } from './hash.js';

/** Numbers of records, and bytes of the two pools. `inodes` does not count record 0. */
export interface TreeCounts {
  inodes: number;
  dirents: number;
  names: number;
  xattrs: number;
  objects: number;
  layers: number;
  links: number;
}

/** A tree file being filled: its sections as views, then {@link TreeFile.seal}. */
export class TreeFile {
  readonly inodes: Uint32Array;
  readonly dirents: Uint32Array;
  readonly names: Uint8Array;
  readonly xattrs: Uint8Array;
  readonly objects: Uint8Array;
  readonly layers: Uint8Array;
  readonly links: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;

  /** @throws LayerfsError resource-exhausted if a pool or a table does not fit the format's 32-bit offsets. */
  constructor(counts: TreeCounts) {
    const lengths: Record<SectionName, number> = {
      inodes: (counts.inodes + 1) * INODE_WORDS * 4,
      dirents: counts.dirents * DIRENT_WORDS * 4,
      names: counts.names,
      xattrs: counts.xattrs,
      objects: counts.objects * DIGEST_SIZE,
      layers: counts.layers * DIGEST_SIZE,
      links: counts.links * LINK_WORDS * 4,
    };
    let size = HEADER_SIZE;
    const offsets: number[] = [];
    for (const name of SECTIONS) {
      offsets.push(size);
      size += Math.ceil(lengths[name] / ALIGNMENT) * ALIGNMENT;
    }
    // One ArrayBuffer has to hold the file, here and in every reader.
    if (size > 0xffffffff) {
      throw new LayerfsError('resource-exhausted', `tree of ${counts.inodes} inodes needs ${size} bytes, over 4 GiB`);
    }
    this.#bytes = new Uint8Array(size);
    this.#words = new Uint32Array(this.#bytes.buffer);
    const header = this.#words;
    header[0] = MAGIC_LOW;
    header[1] = MAGIC_HIGH;
    header[HEADER.version] = VERSION;
    header[HEADER.headerSize] = HEADER_SIZE;
    header[HEADER.fileSizeLow] = size;
    SECTIONS.forEach((name, i) => {
      const row = (HEADER_FIXED + i * SECTION_ROW) / 4;
      header[row + ROW.offsetLow] = offsets[i];
      header[row + ROW.lengthLow] = lengths[name];
    });
    const bytes = (name: SectionName): Uint8Array =>
      new Uint8Array(this.#bytes.buffer, offsets[SECTIONS.indexOf(name)], lengths[name]);
    const words = (name: SectionName): Uint32Array =>
      new Uint32Array(this.#bytes.buffer, offsets[SECTIONS.indexOf(name)], lengths[name] / 4);
    this.inodes = words('inodes');
    this.dirents = words('dirents');
    this.names = bytes('names');
    this.xattrs = bytes('xattrs');
    this.objects = bytes('objects');
    this.layers = bytes('layers');
    this.links = words('links');
  }

  /** Writes the checksums and returns the whole file. */
  seal(hash: Xxh64): Uint8Array {
    const header = this.#words;
    for (let i = 0; i < SECTIONS.length; i++) {
      const row = (HEADER_FIXED + i * SECTION_ROW) / 4;
      const offset = header[row + ROW.offsetLow];
      const sum = xxh64(hash, this.#bytes.subarray(offset, offset + header[row + ROW.lengthLow]));
      header[row + ROW.sumLow] = sum.low;
      header[row + ROW.sumHigh] = sum.high;
    }
    const sum = xxh64(hash, this.#bytes.subarray(0, HEADER_SIZE));
    header[HEADER.sumLow] = sum.low;
    header[HEADER.sumHigh] = sum.high;
    return this.#bytes;
  }
}
