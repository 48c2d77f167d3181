/** Walks the children of several sorted folders at once, in name order, of equal names the topmost layer's first. */
import { DIRENT, DIRENT_WORDS, INODE, INODE_WORDS } from './format.js';
import type { Source } from './stack.js';

/** A position among the children of one tree's folder. Reused: a merge makes one for each layer, not for each folder. */
export class Cursor {
  source!: Source;
  /** Index of the source in the stack: higher is further up. */
  layer = 0;
  folder = 0;
  dirent = 0;
  end = 0;
  prefix = 0;
  nameStart = 0;
  nameLength = 0;

  /** Goes to the first child; says whether there is one. */
  enter(source: Source, layer: number, folder: number): boolean {
    this.source = source;
    this.layer = layer;
    this.folder = folder;
    const at = folder * INODE_WORDS;
    this.dirent = source.inodes[at + INODE.ref];
    this.end = this.dirent + source.inodes[at + INODE.refLength];
    return this.#load();
  }

  /** Goes to the next child; says whether there is one. */
  next(): boolean {
    this.dirent++;
    return this.#load();
  }

  /** Stands where another one stands. */
  copy(other: Cursor): void {
    this.source = other.source;
    this.layer = other.layer;
    this.folder = other.folder;
    this.dirent = other.dirent;
    this.prefix = other.prefix;
    this.nameStart = other.nameStart;
    this.nameLength = other.nameLength;
  }

  #load(): boolean {
    if (this.dirent >= this.end) return false;
    const { dirents } = this.source;
    const at = this.dirent * DIRENT_WORDS;
    this.prefix = dirents[at + DIRENT.prefix];
    this.nameStart = dirents[at + DIRENT.nameOffset];
    this.nameLength = dirents[at + DIRENT.lengthTypeFlags] & 0xffff;
    return true;
  }

  /** Order of the names two cursors stand at. */
  compare(other: Cursor): number {
    if (this.prefix !== other.prefix) return this.prefix - other.prefix;
    const a = this.source.names;
    const b = other.source.names;
    const shared = this.nameLength < other.nameLength ? this.nameLength : other.nameLength;
    for (let i = 4; i < shared; i++) {
      const difference = a[this.nameStart + i] - b[other.nameStart + i];
      if (difference !== 0) return difference;
    }
    return this.nameLength - other.nameLength;
  }
}

/** A binary heap of cursors: the one with the smallest name, and of equal names the topmost layer's, is first. */
export class CursorHeap {
  readonly #heap: Cursor[] = [];

  get first(): Cursor | undefined {
    return this.#heap[0];
  }

  push(cursor: Cursor): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(cursor);
    while (at > 0) {
      const above = (at - 1) >>> 1;
      if (!before(cursor, heap[above])) break;
      heap[at] = heap[above];
      at = above;
    }
    heap[at] = cursor;
  }

  /** Moves the first cursor on and finds its new place; one at its end leaves. */
  advance(): void {
    const heap = this.#heap;
    let cursor = heap[0];
    if (!cursor.next()) {
      const last = heap.pop()!;
      if (heap.length === 0) return;
      cursor = last;
    }
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && before(heap[below + 1], heap[below])) below++;
      if (!before(heap[below], cursor)) break;
      heap[at] = heap[below];
      at = below;
    }
    heap[at] = cursor;
  }
}

function before(a: Cursor, b: Cursor): boolean {
  const order = a.compare(b);
  return order === 0 ? a.layer > b.layer : order < 0;
}
