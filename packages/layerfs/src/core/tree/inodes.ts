/**
 * The inodes of a tree under construction, as records of the file's own layout in blocks that never move. While
 * building, `ref` and `xattrs` hold pool numbers, and a folder's `ref` the head of its list of entries.
 */
import { INODE, INODE_WORDS, NONE } from './format.js';

const BLOCK_BITS = 14;
const BLOCK_MASK = (1 << BLOCK_BITS) - 1;

export class Inodes {
  readonly #blocks: Uint32Array[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** A new zero record without object and xattrs; numbers start at 1. */
  add(): number {
    const ino = ++this.#count;
    if (ino >>> BLOCK_BITS >= this.#blocks.length) {
      this.#blocks.push(new Uint32Array((1 << BLOCK_BITS) * INODE_WORDS));
    }
    this.set(ino, INODE.xattrs, NONE);
    return ino;
  }

  get(ino: number, word: number): number {
    return this.#blocks[ino >>> BLOCK_BITS][(ino & BLOCK_MASK) * INODE_WORDS + word];
  }

  set(ino: number, word: number, value: number): void {
    this.#blocks[ino >>> BLOCK_BITS][(ino & BLOCK_MASK) * INODE_WORDS + word] = value;
  }

  /** Copies a record to `target[at…]`. */
  copy(ino: number, target: Uint32Array, at: number): void {
    const block = this.#blocks[ino >>> BLOCK_BITS];
    const from = (ino & BLOCK_MASK) * INODE_WORDS;
    for (let i = 0; i < INODE_WORDS; i++) target[at + i] = block[from + i];
  }
}
