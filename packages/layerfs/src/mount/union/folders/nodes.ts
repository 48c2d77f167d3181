import type { LowerNode } from '../lower.js';

const FIRST_SIZE = 1024;
const SHIFT = 16;

/**
 * The files that were ever asked for, by number, and their names. About 40 bytes each besides the name itself, because
 * nothing is ever forgotten: numbers must stay the same while mounted.
 */
export class Nodes {
  /** st_mode of each node. */
  #mode = new Uint16Array(FIRST_SIZE);
  /** See {@link flags}. */
  #flags = new Uint8Array(FIRST_SIZE);
  /** Which part of its folder each node lies in. */
  #part = new Uint16Array(FIRST_SIZE);
  /** What stat shows as the inode number of each node. */
  #ino = new Float64Array(FIRST_SIZE);
  /** The first name of each node. */
  #first = new Uint32Array(FIRST_SIZE);
  #nodes = 1;

  /** By number of the name: its folder, its bytes, its node. */
  #folder = new Uint32Array(FIRST_SIZE);
  #node = new Uint32Array(FIRST_SIZE);
  readonly #name: string[] = [''];

  /** Numbers of names by hash, 0 for a free slot; at most half full. */
  #slots = new Uint32Array(FIRST_SIZE * 2);

  /** The node of a name, 0 when it was never added. */
  find(folder: LowerNode, name: string): LowerNode {
    const at = this.#slots[this.#slot(folder, name)];
    return at === 0 ? 0 : this.#node[at];
  }

  /** A new node; its name is added by {@link addName}. */
  add(mode: number, part: number, flags: number, ino: number): LowerNode {
    const node = this.#nodes++;
    if (node >= this.#mode.length) {
      this.#mode = grown(this.#mode, Uint16Array);
      this.#flags = grown(this.#flags, Uint8Array);
      this.#part = grown(this.#part, Uint16Array);
      this.#ino = grown(this.#ino, Float64Array);
      this.#first = grown(this.#first, Uint32Array);
    }
    this.#mode[node] = mode;
    this.#part[node] = part;
    this.#flags[node] = flags;
    this.#ino[node] = ino;
    return node;
  }

  /** One more name of a node. */
  addName(folder: LowerNode, name: string, node: LowerNode): void {
    const at = this.#name.length;
    if (at >= this.#folder.length) {
      this.#folder = grown(this.#folder, Uint32Array);
      this.#node = grown(this.#node, Uint32Array);
      this.#rehash();
    }
    this.#name.push(name);
    this.#folder[at] = folder;
    this.#node[at] = node;
    if (this.#first[node] === 0) this.#first[node] = at;
    this.#slots[this.#slot(folder, name)] = at;
  }

  mode(node: LowerNode): number {
    return this.#mode[node];
  }
  ino(node: LowerNode): number {
    return this.#ino[node];
  }
  part(node: LowerNode): number {
    return this.#part[node];
  }
  /** Bits of the caller's. */
  flags(node: LowerNode): number {
    return this.#flags[node];
  }
  setFlags(node: LowerNode, flags: number): void {
    this.#flags[node] |= flags;
  }
  /** The folder of a node's first name. */
  folder(node: LowerNode): LowerNode {
    return this.#folder[this.#first[node]];
  }
  /** A node's first name. */
  name(node: LowerNode): string {
    return this.#name[this.#first[node]];
  }
  has(node: LowerNode): boolean {
    return node > 0 && node < this.#nodes;
  }

  #slot(folder: LowerNode, name: string): number {
    const mask = this.#slots.length - 1;
    let at = hash(folder, name) & mask;
    for (;;) {
      const known = this.#slots[at];
      if (known === 0 || (this.#folder[known] === folder && this.#name[known] === name)) return at;
      at = (at + 1) & mask;
    }
  }

  #rehash(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2);
    for (let at = 1; at < this.#name.length; at++) this.#slots[this.#slot(this.#folder[at], this.#name[at])] = at;
  }
}

function grown<T extends { readonly length: number; set(from: T): void }>(from: T, make: new (length: number) => T): T {
  const to = new make(from.length * 2);
  to.set(from);
  return to;
}

/** FNV-1a, with a last step that spreads the upper bits. */
function hash(folder: number, name: string): number {
  let h = Math.imul(folder ^ 0x811c9dc5, 0x01000193);
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return h ^ (h >>> SHIFT);
}
