/**
 * The names of a tree under construction: each entry is (folder, name) -> inode, found by an open-addressing hash
 * table over typed arrays. Entries are never moved; one that is taken away keeps its place with inode 0.
 */
import { grown, mix, randomSeed } from './pool.js';

/** The entry is wanted hidden in lower layers. */
export const ENTRY_WHITEOUT = 1;
/** `inode` is the pool number of a path in lower layers. */
export const ENTRY_LOWER_LINK = 2;

export class Entries {
  readonly #seed = randomSeed();
  /** By entry number; entry 0 is none. */
  #parent = new Uint32Array(256);
  #name = new Uint32Array(256);
  #inode = new Uint32Array(256);
  #next = new Uint32Array(256);
  #flags = new Uint8Array(256);
  /** Power of two, at most half full. */
  #slots = new Uint32Array(512);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  name(entry: number): number {
    return this.#name[entry];
  }

  inode(entry: number): number {
    return this.#inode[entry];
  }

  flags(entry: number): number {
    return this.#flags[entry];
  }

  /** The next entry of the same folder, in no useful order; 0 at the end. */
  next(entry: number): number {
    return this.#next[entry];
  }

  set(entry: number, inode: number, flags: number): void {
    this.#inode[entry] = inode;
    this.#flags[entry] = flags;
  }

  /** The entry of (parent, name), or 0. */
  find(parent: number, name: number): number {
    return this.#slots[this.#probe(parent, name)];
  }

  /** A new entry, whose (parent, name) is known to be new, in front of `next` in its folder's list. */
  add(parent: number, name: number, next: number): number {
    const entry = ++this.#count;
    if (entry >= this.#parent.length) this.#grow(entry + 1);
    this.#parent[entry] = parent;
    this.#name[entry] = name;
    this.#next[entry] = next;
    if (entry * 2 > this.#slots.length) this.#rehash();
    else this.#slots[this.#probe(parent, name)] = entry;
    return entry;
  }

  #probe(parent: number, name: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = mix(mix(this.#seed, parent), name) & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot];
      if (entry === 0 || (this.#name[entry] === name && this.#parent[entry] === parent)) return slot;
    }
  }

  #grow(needed: number): void {
    this.#parent = grown(this.#parent, needed);
    this.#name = grown(this.#name, needed);
    this.#inode = grown(this.#inode, needed);
    this.#next = grown(this.#next, needed);
    this.#flags = grown(this.#flags, needed);
  }

  #rehash(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2);
    for (let entry = 1; entry <= this.#count; entry++) {
      this.#slots[this.#probe(this.#parent[entry], this.#name[entry])] = entry;
    }
  }
}
