/** Folders as EROFS has them: blocks of dirents followed by their names, sorted by name bytes, `.` and `..` among them. */
import { LayerfsError } from '../error.js';
import type { Tree } from '../tree/tree.js';
import { BLOCK_SIZE, DIRENT, DIRENT_SIZE } from './format.js';

/** How a folder's dirents fill blocks: all but the last are whole. */
export interface ListingShape {
  /** Bytes in all: what the folder's size says. */
  readonly size: number;
  /** Blocks before the last. */
  readonly fullBlocks: number;
  /** Which dirent the last block begins with; see {@link Listing.encode}. */
  readonly lastFrom: number;
  /** Bytes of the last block that are used. */
  readonly lastSize: number;
}

/** What is written for a dirent's inode. */
export type NidOf = (dirent: number) => { readonly nid: number; readonly type: number };

const DOTS = Uint8Array.of(0x2e, 0x2e);
const FOLDER_TYPE = 2;

/** The names of one folder, in order. Names count from 0, `.` and `..` included. */
export class Listing {
  readonly count: number;
  readonly #tree: Tree;
  readonly #first: number;
  readonly #dot: number;
  readonly #dotDot: number;

  constructor(tree: Tree, folder: number) {
    this.#tree = tree;
    this.#first = tree.firstDirent(folder);
    const children = tree.childCount(folder);
    this.count = children + 2;
    let before = 0;
    while (before < children && this.#isBefore(before, 1)) before++;
    this.#dot = before;
    while (before < children && this.#isBefore(before, 2)) before++;
    this.#dotDot = before + 1;
  }

  /** Measures the blocks. */
  shape(): ListingShape {
    let fullBlocks = 0;
    let lastFrom = 0;
    let used = 0;
    for (let i = 0; i < this.count; i++) {
      const size = DIRENT_SIZE + this.#length(i);
      if (used + size > BLOCK_SIZE) {
        fullBlocks++;
        lastFrom = i;
        used = 0;
      }
      used += size;
    }
    return { size: fullBlocks * BLOCK_SIZE + used, fullBlocks, lastFrom, lastSize: used };
  }

  /**
   * Writes the block that begins with name `from` to `target` at `offset`, which is zero there.
   * @param self nid of the folder, @param parent of the folder above
   * @returns with which name the next block begins
   */
  encode(from: number, target: DataView, offset: number, self: number, parent: number, nidOf: NidOf): number {
    let end = from;
    let used = 0;
    for (; end < this.count; end++) {
      const size = DIRENT_SIZE + this.#length(end);
      if (used + size > BLOCK_SIZE) break;
      used += size;
    }
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    let name = (end - from) * DIRENT_SIZE;
    for (let i = from; i < end; i++) {
      const at = offset + (i - from) * DIRENT_SIZE;
      const dirent = this.#dirent(i);
      const length = this.#length(i);
      const { nid, type } = dirent < 0 ? { nid: i === this.#dot ? self : parent, type: FOLDER_TYPE } : nidOf(dirent);
      target.setUint32(at + DIRENT.nid, nid, true);
      target.setUint16(at + DIRENT.nameOffset, name, true);
      target.setUint8(at + DIRENT.type, type);
      const start = dirent < 0 ? 0 : this.#tree.direntNameOffset(dirent);
      bytes.set((dirent < 0 ? DOTS : this.#tree.names).subarray(start, start + length), offset + name);
      name += length;
    }
    return end;
  }

  /** The dirent of the tree, -1 for `.` and `..`. */
  #dirent(index: number): number {
    if (index === this.#dot || index === this.#dotDot) return -1;
    return this.#first + index - (index > this.#dot ? 1 : 0) - (index > this.#dotDot ? 1 : 0);
  }

  #length(index: number): number {
    if (index === this.#dot) return 1;
    if (index === this.#dotDot) return 2;
    return this.#tree.direntNameLength(this.#dirent(index));
  }

  /** Whether a child's name comes before a name of so many dots. */
  #isBefore(child: number, dots: number): boolean {
    const start = this.#tree.direntNameOffset(this.#first + child);
    const length = this.#tree.direntNameLength(this.#first + child);
    for (let i = 0; i < dots; i++) {
      if (i >= length) return true;
      const byte = this.#tree.names[start + i];
      if (byte !== 0x2e) return byte < 0x2e;
    }
    if (length === dots) throw new LayerfsError('corrupt', 'tree: a folder has a name "." or ".."');
    return false;
  }
}
