/** Finds the sections of a tree file and checks that they lie within it: all that opening does. */
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
  MAX_LAYERS,
  ROW,
  SECTIONS,
  SECTION_ROW,
  type SectionName,
  VERSION,
} from './format.js';
import { type Xxh64, xxh64 } from './hash.js';

/** The sections of a file, as views of its bytes. */
export interface Sections {
  readonly inodes: Uint32Array;
  readonly dirents: Uint32Array;
  readonly names: Uint8Array;
  readonly xattrs: Uint8Array;
  readonly objects: Uint8Array;
  readonly layers: Uint8Array;
  readonly links: Uint32Array;
}

/** Size of one record of a section, in bytes. */
const RECORD: Record<SectionName, number> = {
  inodes: INODE_WORDS * 4,
  dirents: DIRENT_WORDS * 4,
  names: 1,
  xattrs: 4,
  objects: DIGEST_SIZE,
  layers: DIGEST_SIZE,
  links: LINK_WORDS * 4,
};

/** @throws LayerfsError corrupt, naming section, field and offset; unimplemented for another version of the format. */
export function openSections(file: Uint8Array): Sections {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) {
    throw new LayerfsError('unimplemented', 'trees are read as they lie and need a little-endian machine');
  }
  if (file.byteOffset % ALIGNMENT !== 0)
    throw new LayerfsError('invalid-argument', 'tree: buffer is not 8-byte aligned');
  if (file.length < HEADER_SIZE) throw corruptTree('header', 'size', 0, `the file has only ${file.length} bytes`);
  const header = new Uint32Array(file.buffer, file.byteOffset, HEADER_SIZE / 4);
  if (header[0] !== MAGIC_LOW || header[1] !== MAGIC_HIGH) throw corruptTree('header', 'magic', 0, 'not a tree file');
  if (header[HEADER.version] !== VERSION) {
    throw new LayerfsError(
      'unimplemented',
      `tree format version ${header[HEADER.version]}; this is version ${VERSION}`,
    );
  }
  if (header[HEADER.headerSize] !== HEADER_SIZE) throw corruptTree('header', 'header size', 12, 'wrong');
  if (wide(header, HEADER.fileSizeLow) !== file.length) {
    throw corruptTree(
      'header',
      'file size',
      16,
      `${wide(header, HEADER.fileSizeLow)}, but there are ${file.length} bytes`,
    );
  }
  const found: Partial<Record<SectionName, { offset: number; length: number }>> = {};
  let end = HEADER_SIZE;
  for (const [i, name] of SECTIONS.entries()) {
    const row = (HEADER_FIXED + i * SECTION_ROW) / 4;
    const offset = wide(header, row + ROW.offsetLow);
    const length = wide(header, row + ROW.lengthLow);
    if (offset % ALIGNMENT !== 0 || offset < end || offset > file.length) {
      throw corruptTree(name, 'offset', row * 4, `${offset}`);
    }
    if (length > file.length - offset || length % RECORD[name] !== 0) {
      throw corruptTree(name, 'length', row * 4 + 8, `${length}`);
    }
    end = offset + length;
    found[name] = { offset: file.byteOffset + offset, length };
  }
  const bytes = (name: SectionName): Uint8Array =>
    new Uint8Array(file.buffer, found[name]!.offset, found[name]!.length);
  const words = (name: SectionName): Uint32Array =>
    new Uint32Array(file.buffer, found[name]!.offset, found[name]!.length / 4);
  const sections: Sections = {
    inodes: words('inodes'),
    dirents: words('dirents'),
    names: bytes('names'),
    xattrs: bytes('xattrs'),
    objects: bytes('objects'),
    layers: bytes('layers'),
    links: words('links'),
  };
  if (sections.inodes.length < 2 * INODE_WORDS) throw corruptTree('inodes', 'length', HEADER_FIXED + 8, 'no root');
  if (sections.layers.length / DIGEST_SIZE > MAX_LAYERS) {
    throw corruptTree('layers', 'length', HEADER_FIXED + 5 * SECTION_ROW + 8, 'too many layers');
  }
  return sections;
}

/** Compares every checksum. The file has passed {@link openSections}. @throws LayerfsError corrupt naming the section. */
export function verifyChecksums(file: Uint8Array, hash: Xxh64): void {
  const header = new Uint32Array(file.slice(0, HEADER_SIZE).buffer);
  const [low, high] = [header[HEADER.sumLow], header[HEADER.sumHigh]];
  header[HEADER.sumLow] = 0;
  header[HEADER.sumHigh] = 0;
  const sum = xxh64(hash, new Uint8Array(header.buffer));
  if (sum.low !== low || sum.high !== high)
    throw corruptTree('header', 'checksum', HEADER.sumLow * 4, 'does not match');
  for (const [i, name] of SECTIONS.entries()) {
    const row = (HEADER_FIXED + i * SECTION_ROW) / 4;
    const offset = wide(header, row + ROW.offsetLow);
    const sum = xxh64(hash, file.subarray(offset, offset + wide(header, row + ROW.lengthLow)));
    if (sum.low !== header[row + ROW.sumLow] || sum.high !== header[row + ROW.sumHigh]) {
      throw corruptTree(name, 'checksum', (row + ROW.sumLow) * 4, 'does not match');
    }
  }
}

/** The error for damaged bytes. `offset` is in bytes, from the start of the section (of the file, for the header's). */
export function corruptTree(
  section: SectionName | 'header',
  field: string,
  offset: number,
  detail: string,
): LayerfsError {
  return new LayerfsError('corrupt', `tree: section ${section}, ${field} at offset ${offset}: ${detail}`);
}

/** A u64 as a number; beyond 2^53 it loses digits, but every caller compares it with a file's size. */
function wide(words: Uint32Array, at: number): number {
  return words[at + 1] * 0x1_0000_0000 + words[at];
}
