import type { ObjectList } from '../object-list.js';

const KEY = 32;

/**
 * Counts by object, for stores of millions: about 60 bytes an object, and nothing for the garbage collector of JavaScript
 * to look at.
 */
export class ObjectTable {
  #keys = Buffer.alloc(1024 * KEY);
  #sizes = new Float64Array(1024);
  #counts = new Uint32Array(1024);
  /** Index + 1 of the object, 0 for a free place. */
  #slots = new Int32Array(2048);
  #count = 0;

  /** Distinct objects. */
  get count(): number {
    return this.#count;
  }

  /** The place of an object, or -1. @param key the 32 bytes of its sha256 */
  find(key: Buffer): number {
    return this.#slots[this.#slot(key)] - 1;
  }

  /** The place of an object of a list; a new one has a count of 0. */
  place(list: ObjectList, index: number): number {
    const key = list.digest(index);
    const slot = this.#slot(key);
    if (this.#slots[slot] !== 0) return this.#slots[slot] - 1;
    const at = this.#count;
    if (at === this.#counts.length) {
      this.#grow();
      return this.place(list, index);
    }
    this.#keys.set(key, at * KEY);
    this.#sizes[at] = list.size(index);
    this.#slots[slot] = at + 1;
    this.#count++;
    return at;
  }

  /** Counts every object of a list once more, from `start` on. */
  addList(list: ObjectList, start = 0): void {
    for (let i = start; i < list.count; i++) {
      const at = this.place(list, i);
      this.#counts[at]++;
    }
  }

  /** Counts those objects of a list that are in the table, and no other. */
  countKnown(list: ObjectList): void {
    for (let i = 0; i < list.count; i++) {
      const at = this.find(list.digest(i));
      if (at >= 0) this.#counts[at]++;
    }
  }

  countAt(at: number): number {
    return this.#counts[at];
  }

  sizeAt(at: number): number {
    return this.#sizes[at];
  }

  /** The 32 bytes of the sha256; valid until the table grows. */
  keyAt(at: number): Buffer {
    return this.#keys.subarray(at * KEY, at * KEY + KEY);
  }

  // A sha256 is as good as random: its first bytes are the hash.
  #slot(key: Buffer): number {
    const mask = this.#slots.length - 1;
    for (let slot = (key.readUInt32LE(0) ^ key.readUInt32LE(4)) & mask; ; slot = (slot + 1) & mask) {
      const at = this.#slots[slot];
      if (at === 0 || this.#keys.compare(key, 0, KEY, (at - 1) * KEY, at * KEY) === 0) return slot;
    }
  }

  #grow(): void {
    const size = this.#counts.length * 2;
    const keys = Buffer.alloc(size * KEY);
    keys.set(this.#keys);
    this.#keys = keys;
    const sizes = new Float64Array(size);
    sizes.set(this.#sizes);
    this.#sizes = sizes;
    const counts = new Uint32Array(size);
    counts.set(this.#counts);
    this.#counts = counts;
    this.#slots = new Int32Array(size * 2);
    for (let at = 0; at < this.#count; at++) this.#slots[this.#slot(this.keyAt(at))] = at + 1;
  }
}
