/**
 * A pool of distinct byte strings, each with a small number in order of first use. Names, link targets, encoded
 * xattr sets and digests of a tree under construction live in such pools: no JavaScript object for any of them.
 */
import { LayerfsError } from '../error.js';

/** The same values in an array at least `needed` long, with room to grow. */
export function grown<T extends Uint8Array | Uint32Array>(array: T, needed: number): T {
  if (needed <= array.length) return array;
  const bigger = new (array.constructor as new (length: number) => T)(Math.max(needed, Math.ceil(array.length * 1.5)));
  bigger.set(array);
  return bigger;
}

/**
 * Mixes an int32 into a hash state. Names come from strangers and a table with chosen collisions would be quadratic:
 * the state starts from a random seed and the shift keeps collisions from being independent of it.
 */
export function mix(state: number, value: number): number {
  const mixed = Math.imul(state ^ value, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}

/** A seed for {@link mix}. Nothing that is written depends on it. */
export function randomSeed(): number {
  return Math.floor(Math.random() * 0x1_0000_0000) | 0;
}

export class BytePool {
  readonly #seed = randomSeed();
  readonly #hashed: number;
  #bytes = new Uint8Array(4096);
  /** Where string `id` starts; it ends where the next one starts. */
  #starts = new Uint32Array(256);
  #hashes = new Uint32Array(256);
  /** Open addressing, id + 1, at most half full. */
  #slots = new Uint32Array(512);
  #count = 0;

  /** `hashed`: how many leading bytes go into the hash table's hash; a few are enough for strings that are hashes. */
  constructor(hashed = Infinity) {
    this.#hashed = hashed;
  }

  /** How many distinct strings there are; their numbers are `0 … count - 1`. */
  get count(): number {
    return this.#count;
  }

  /** All strings one after the other. Valid until the next {@link intern}. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  start(id: number): number {
    return this.#starts[id];
  }

  length(id: number): number {
    return this.#starts[id + 1] - this.#starts[id];
  }

  view(id: number): Uint8Array {
    return this.#bytes.subarray(this.#starts[id], this.#starts[id + 1]);
  }

  /** The number of the string `[from, from + length)` of `source`, or -1. */
  find(source: Uint8Array, length: number, from = 0): number {
    return this.#slots[this.#probe(source, length, from, this.#hash(source, length, from))] - 1;
  }

  /** The number of the string `[from, from + length)` of `source`, added if it is new. @throws LayerfsError resource-exhausted over 4 GiB. */
  intern(source: Uint8Array, length: number, from = 0): number {
    const hash = this.#hash(source, length, from);
    const slot = this.#probe(source, length, from, hash);
    if (this.#slots[slot] !== 0) return this.#slots[slot] - 1;
    const id = this.#count++;
    const start = this.#starts[id];
    const end = start + length;
    if (end > 0xffffffff) throw new LayerfsError('resource-exhausted', 'names of one tree exceed 4 GiB');
    this.#bytes = grown(this.#bytes, end);
    for (let i = 0; i < length; i++) this.#bytes[start + i] = source[from + i];
    this.#starts = grown(this.#starts, id + 2);
    this.#starts[id + 1] = end;
    this.#hashes = grown(this.#hashes, id + 1);
    this.#hashes[id] = hash;
    this.#slots[slot] = id + 1;
    if (this.#count * 2 > this.#slots.length) this.#rehash();
    return id;
  }

  #hash(source: Uint8Array, length: number, from: number): number {
    let state = this.#seed;
    const end = from + Math.min(length, this.#hashed);
    for (let i = from; i < end; i++) state = mix(state, source[i]);
    return mix(state, length) >>> 0;
  }

  /** The slot that holds the string, or the free one where it belongs. */
  #probe(source: Uint8Array, length: number, from: number, hash: number): number {
    const slots = this.#slots;
    const bytes = this.#bytes;
    const mask = slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const id = slots[slot] - 1;
      if (id < 0) return slot;
      if (this.#hashes[id] !== hash) continue;
      const start = this.#starts[id];
      if (this.#starts[id + 1] - start !== length) continue;
      let i = 0;
      while (i < length && bytes[start + i] === source[from + i]) i++;
      if (i === length) return slot;
    }
  }

  #rehash(): void {
    const slots = new Uint32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    for (let id = 0; id < this.#count; id++) {
      let slot = this.#hashes[id] & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = id + 1;
    }
    this.#slots = slots;
  }
}
