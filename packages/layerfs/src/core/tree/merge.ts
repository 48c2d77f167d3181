/**
 * Merges a stack of trees into one, by kernel overlayfs's rules: of each name the topmost layer's entry counts;
 * folders over folders merge; whiteouts and opaque folders hide; anything else replaces. The result has neither
 * whiteouts nor opaque folders.
 *
 * Two passes. The first walks folders breadth-first and decides which inode of which tree gets which number; a folder
 * that only one layer has is taken over without comparing names. The second writes the file. Names and xattrs are
 * taken over as whole sections, so a big base under a small layer costs little more than copying it.
 */
import { LayerfsError } from '../error.js';
import { TreeBuilder } from './builder.js';
import { Cursor, CursorHeap } from './cursors.js';
import { DIRENT, DIRENT_WORDS, DT_DIR, INODE, INODE_WORDS, LOWER_LINK, MAX_LAYERS, ROOT, WHITEOUT } from './format.js';
import type { Xxh64 } from './hash.js';
import { type Plan, writeMerged } from './merge-write.js';
import { type Source, Stack, isFolder, isImplied, isOpaque } from './stack.js';
import type { Tree } from './tree.js';
import { verifyStructure } from './verify.js';

/**
 * The merged tree of a stack, lowest layer first, as a file. Its layer table is that of all trees, one after the
 * other, and each inode says which layer it is from (a merged folder: the topmost layer that gave its attributes).
 * Merging a merged tree with further layers gives the same as merging all layers at once.
 * @throws LayerfsError corrupt for a damaged tree; invalid-argument for a lower link without target;
 * resource-exhausted beyond the format's limits.
 */
export function mergeTrees(trees: readonly Tree[], options: { hash: Xxh64 }): Uint8Array {
  if (trees.length === 0) return new TreeBuilder().finish({ layers: [], hash: options.hash });
  for (const tree of trees) verifyStructure(tree);
  const stack = new Stack(trees);
  const { totals } = stack;
  if (totals.layers > MAX_LAYERS) {
    throw new LayerfsError('resource-exhausted', `a stack of ${totals.layers} layers, over ${MAX_LAYERS}`);
  }
  if (Math.max(totals.names, totals.xattrs) > 0xffffffff) {
    throw new LayerfsError('resource-exhausted', 'names or xattrs of a stack exceed 4 GiB');
  }
  return writeMerged(stack, new Merge(stack).plan(), options.hash);
}

/** Below a folder stands a file or a whiteout: nothing further down has to do with it. */
const NONE_LENDS = -1;

/** The first pass: which inodes are seen, under which names and numbers. */
class Merge {
  readonly #stack: Stack;
  /** Stack-wide number of a file -> number in the result; 0 while it has none. Folders have one name and need none. */
  readonly #newOf: Uint32Array;
  readonly #sourceOf: Uint32Array;
  readonly #firstOf: Uint32Array;
  readonly #dirents: Uint32Array;
  /** For each folder of the result, in order: the stack-wide numbers it is merged from, topmost first, then 0. */
  readonly #parts: Uint32Array;
  readonly #cursors: readonly Cursor[];
  readonly #current = new Cursor();
  readonly #heap = new CursorHeap();
  #inodes = 0;
  #count = 0;
  #partsEnd = 0;

  constructor(stack: Stack) {
    const { totals, sources } = stack;
    this.#stack = stack;
    // Sized for the worst case; what is not written to takes no memory.
    this.#newOf = new Uint32Array(totals.inodes + 1);
    this.#sourceOf = new Uint32Array(totals.inodes + 1);
    this.#firstOf = new Uint32Array(totals.inodes + 2);
    this.#dirents = new Uint32Array(totals.dirents * DIRENT_WORDS);
    this.#parts = new Uint32Array(totals.inodes * 2);
    this.#cursors = sources.map(() => new Cursor());
  }

  plan(): Plan {
    const { sources } = this.#stack;
    const roots = this.#stack.roots(sources.length);
    for (const root of roots) this.#parts[this.#partsEnd++] = root;
    let below = sources.length - roots.length - 1;
    while (below > 0 && isImplied(sources[below].inodes, ROOT)) below--;
    this.#addFolder(0, below < 0 ? 0 : sources[below].inodeBase + ROOT);
    let part = 0;
    // The inodes numbered so far are the queue of this breadth-first walk.
    for (let ino = 1; ino <= this.#inodes; ino++) {
      this.#firstOf[ino] = this.#count;
      const number = this.#sourceOf[ino];
      const index = this.#stack.indexOf(number);
      if (!isFolder(sources[index].inodes, number - sources[index].inodeBase)) continue;
      const first = part;
      while (this.#parts[part] !== 0) part++;
      if (part - first === 1) this.#copyFolder(this.#parts[first]);
      else this.#mergeFolders(first, part);
      part++;
    }
    this.#firstOf[this.#inodes + 1] = this.#count;
    return {
      inodes: this.#inodes,
      count: this.#count,
      sourceOf: this.#sourceOf,
      firstOf: this.#firstOf,
      dirents: this.#dirents,
    };
  }

  /** A folder that one layer alone has. */
  #copyFolder(part: number): void {
    const index = this.#stack.indexOf(part);
    const source = this.#stack.sources[index];
    const { dirents, inodes, inodeBase } = source;
    const folder = part - inodeBase;
    const first = inodes[folder * INODE_WORDS + INODE.ref];
    const end = first + inodes[folder * INODE_WORDS + INODE.refLength];
    for (let dirent = first; dirent < end; dirent++) {
      const at = dirent * DIRENT_WORDS;
      const word = dirents[at + DIRENT.lengthTypeFlags];
      const flags = word >>> 24;
      if (flags === WHITEOUT) continue;
      let child: number;
      if (flags === LOWER_LINK) {
        child = this.#file(this.#stack.resolveLowerLink(index, folder, dirent));
      } else if (word >>> 16 === DT_DIR) {
        const start = this.#partsEnd;
        this.#parts[this.#partsEnd++] = inodeBase + dirents[at + DIRENT.inode];
        child = this.#addFolder(start, 0);
      } else {
        child = this.#file(inodeBase + dirents[at + DIRENT.inode]);
      }
      this.#addDirent(source, at, child);
    }
  }

  /** A folder that several layers have: `parts[first, end)`. */
  #mergeFolders(first: number, end: number): void {
    const heap = this.#heap;
    const current = this.#current;
    for (let i = first; i < end; i++) {
      const index = this.#stack.indexOf(this.#parts[i]);
      const source = this.#stack.sources[index];
      const cursor = this.#cursors[i - first];
      if (cursor.enter(source, index, this.#parts[i] - source.inodeBase)) heap.push(cursor);
    }
    for (let top = heap.first; top !== undefined; top = heap.first) {
      current.copy(top);
      const start = this.#partsEnd;
      let child = 0;
      // Whether lower entries of this name can still add something: only to a folder, and until something hides them.
      let open = false;
      // A folder that is implied down to where it is opaque still takes its attributes from the one it hides.
      let lender = 0;
      const word = current.source.dirents[current.dirent * DIRENT_WORDS + DIRENT.lengthTypeFlags];
      if (word >>> 24 === LOWER_LINK) {
        child = this.#file(this.#stack.resolveLowerLink(current.layer, current.folder, current.dirent));
      } else if (word >>> 24 !== WHITEOUT) {
        open = this.#addPart(current);
        if (this.#partsEnd === start) {
          const { source, dirent } = current;
          child = this.#file(source.inodeBase + source.dirents[dirent * DIRENT_WORDS + DIRENT.inode]);
        }
      }
      heap.advance();
      for (let lower = heap.first; lower !== undefined && lower.compare(current) === 0; lower = heap.first) {
        if (open) open = this.#addPart(lower);
        else if (lender === 0 && this.#partsEnd > start) lender = this.#lender(lower);
        heap.advance();
      }
      if (this.#partsEnd > start) child = this.#addFolder(start, lender);
      if (child !== 0) this.#addDirent(current.source, current.dirent * DIRENT_WORDS, child);
    }
  }

  /** Takes the folder at a cursor as one more part of a merged one; says whether more may follow. */
  #addPart({ source, dirent }: Cursor): boolean {
    const at = dirent * DIRENT_WORDS;
    // A whiteout's and a lower link's type is 0.
    if (((source.dirents[at + DIRENT.lengthTypeFlags] >>> 16) & 0xff) !== DT_DIR) return false;
    const ino = source.dirents[at + DIRENT.inode];
    this.#parts[this.#partsEnd++] = source.inodeBase + ino;
    return !isOpaque(source.inodes, ino);
  }

  /** A hidden folder whose attributes an implied one above it may take: NONE_LENDS ends the search, 0 goes on. */
  #lender({ source, dirent }: Cursor): number {
    const at = dirent * DIRENT_WORDS;
    if (((source.dirents[at + DIRENT.lengthTypeFlags] >>> 16) & 0xff) !== DT_DIR) return NONE_LENDS;
    const ino = source.dirents[at + DIRENT.inode];
    return isImplied(source.inodes, ino) ? 0 : source.inodeBase + ino;
  }

  /** Numbers the folder merged from `parts[start…]` and chooses whose attributes it takes. */
  #addFolder(start: number, lender: number): number {
    // The topmost layer that gave attributes; if none did, the lowest, where the folder came into being.
    let chosen = lender > 0 ? lender : this.#parts[this.#partsEnd - 1];
    for (let i = start; i < this.#partsEnd; i++) {
      const source = this.#stack.sources[this.#stack.indexOf(this.#parts[i])];
      if (isImplied(source.inodes, this.#parts[i] - source.inodeBase)) continue;
      chosen = this.#parts[i];
      break;
    }
    this.#parts[this.#partsEnd++] = 0;
    this.#sourceOf[++this.#inodes] = chosen;
    return this.#inodes;
  }

  /** The number of a file, which may have been seen under another name. */
  #file(number: number): number {
    if (this.#newOf[number] === 0) {
      this.#newOf[number] = ++this.#inodes;
      this.#sourceOf[this.#inodes] = number;
    }
    return this.#newOf[number];
  }

  /** A name of the result, spelt as the dirent at `from` of a source. */
  #addDirent(source: Source, from: number, child: number): void {
    const at = this.#count++ * DIRENT_WORDS;
    this.#dirents[at + DIRENT.nameOffset] = source.nameBase + source.dirents[from + DIRENT.nameOffset];
    // The second pass adds the type.
    this.#dirents[at + DIRENT.lengthTypeFlags] = source.dirents[from + DIRENT.lengthTypeFlags] & 0xffff;
    this.#dirents[at + DIRENT.inode] = child;
    this.#dirents[at + DIRENT.prefix] = source.dirents[from + DIRENT.prefix];
  }
}
