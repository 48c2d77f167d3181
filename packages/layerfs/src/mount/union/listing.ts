import { Attr, type Reply } from '@layerfs/fuse';
import { ErrnoError } from '@layerfs/linux';
import { LRUCache } from 'lru-cache';
import { latin1Bytes } from '../../core/bytes.js';
import { Folder, type Inode } from './inodes.js';
import type { LowerNode } from './lower.js';
import type { Child, Union } from './union.js';

const DOT = latin1Bytes('..');
/** Offsets: 1 and 2 continue behind `.` and `..`, then comes one for each place. */
const FIRST = 2;
const DT_DIR = 4;
/** Zero would end a listing. */
const BAD_INO = 2 ** 50;

/** So many listings of merged folders are kept for whoever goes on with them. */
const KEEP = 64;

/** A merged folder: its names as they were when it was read from the beginning. */
interface Snapshot {
  readonly children: readonly Child[];
  readonly version: number;
}

/** How long the kernel may trust what READDIRPLUS tells of an inode, in seconds. */
export type Lifetime = (node: Inode | LowerNode) => number;

/** Listings. Folders that upper knows nothing of are read straight from the lower and need no memory. */
export class Listing {
  readonly #union: Union;
  readonly #lifetime: Lifetime;
  /** By handle; by nodeid below zero where the kernel opens folders without asking. */
  readonly #open: LRUCache<number, Snapshot>;
  readonly #attr = new Attr();
  #next = 1;

  constructor(union: Union, lifetime: Lifetime) {
    this.#union = union;
    this.#lifetime = lifetime;
    this.#open = new LRUCache({ max: KEEP, dispose: ({ children }) => this.#unpin(children) });
  }

  /** A handle. */
  open(): number {
    return this.#next++;
  }

  release(fh: number): void {
    this.#open.delete(fh);
  }

  #unpin(children: readonly Child[]): void {
    for (const { node } of children) if (typeof node === 'object') this.#union.table.unpin(node);
  }

  #snapshot(folder: Folder, nodeid: number, fh: number, offset: number): Snapshot {
    const key = fh === 0 ? -nodeid : fh;
    const known = this.#open.get(key);
    if (known !== undefined && offset > 0) return known;
    // It may begin in the middle: the kernel had what comes before from another listing, or from the lower alone.
    const snapshot = { children: this.#union.children(folder), version: folder.version };
    for (const { node } of snapshot.children) if (typeof node === 'object') this.#union.table.pin(node);
    this.#open.set(key, snapshot);
    return snapshot;
  }

  /** READDIR and READDIRPLUS. */
  read(nodeid: number, fh: number, offset: number, size: number, plus: boolean, reply: Reply): void {
    const node = this.#union.find(nodeid);
    reply.directory(size);
    if (!this.#dots(node, offset, plus, reply)) return;
    const at = Math.max(0, offset - FIRST);
    if (node instanceof Folder) this.#merged(node, this.#snapshot(node, nodeid, fh, offset), at, plus, reply);
    else this.#plain(node as LowerNode, at, plus, reply);
  }

  #dots(node: Inode | LowerNode, offset: number, plus: boolean, reply: Reply): boolean {
    for (let dots = offset + 1; dots <= FIRST; dots++) {
      // All that the kernel takes of these two: it counts no lookup of nodeid 0.
      this.#attr.ino = this.#ino(dots === 1 ? node : this.#parent(node));
      const added = plus
        ? reply.addDirentPlus(0, this.#attr, 0, DT_DIR, dots, DOT, 0, dots)
        : reply.addDirent(this.#attr.ino, DT_DIR, dots, DOT, 0, dots);
      if (!added) return false;
    }
    return true;
  }

  #parent(node: Inode | LowerNode): Inode | LowerNode {
    if (node instanceof Folder) return node.parent ?? node;
    const parent = this.#union.lower.parent(node as LowerNode);
    return this.#union.table.get(parent) ?? parent;
  }

  #plain(folder: LowerNode, from: number, plus: boolean, reply: Reply): void {
    const { lower } = this.#union;
    const count = lower.childCount(folder);
    for (let i = from; i < count; i++) {
      const node = lower.childNode(folder, i);
      if (!this.#add(node, lower.childName(folder, i), i, plus, reply)) return;
    }
  }

  #merged(folder: Folder, { children, version }: Snapshot, from: number, plus: boolean, reply: Reply): void {
    for (let i = indexOf(children, from); i < children.length; i++) {
      const { name, place } = children[i];
      try {
        // The kernel would believe in a name that is gone since.
        const known = children[i].node;
        const node = folder.version === version || known === undefined ? known : this.#union.lookup(folder, name);
        if (node === undefined) {
          if (known === undefined && !this.#addBad(name, place, plus, reply)) return;
          continue;
        }
        if (!this.#add(node, name, place, plus, reply)) return;
      } catch (error) {
        // An entry that cannot be looked at is left out rather than the whole listing.
        if (!(error instanceof ErrnoError)) throw error;
      }
    }
  }

  #add(node: Inode | LowerNode, name: string, place: number, plus: boolean, reply: Reply): boolean {
    const union = this.#union;
    const bytes = latin1Bytes(name);
    const next = place + FIRST + 1;
    const type = union.type(node) >>> 12;
    if (!plus) {
      return reply.addDirent(this.#ino(node), type, next, bytes, 0, bytes.length);
    }
    union.fill(node, this.#attr);
    const nodeid = union.nodeid(node);
    const added = reply.addDirentPlus(nodeid, this.#attr, this.#lifetime(node), type, next, bytes, 0, bytes.length);
    if (added) union.table.looked(nodeid);
    return added;
  }

  /** A name of which nothing can be told: whoever looks it up learns why. */
  #addBad(name: string, place: number, plus: boolean, reply: Reply): boolean {
    const bytes = latin1Bytes(name);
    const next = place + FIRST + 1;
    this.#attr.ino = BAD_INO;
    return plus
      ? reply.addDirentPlus(0, this.#attr, 0, 0, next, bytes, 0, bytes.length)
      : reply.addDirent(BAD_INO, 0, next, bytes, 0, bytes.length);
  }

  #ino(node: Inode | LowerNode): number {
    return typeof node === 'number' ? this.#union.lower.ino(node) : node.ino;
  }
}

/** Where the children from a place on begin. */
function indexOf(children: readonly Child[], place: number): number {
  let low = 0;
  let high = children.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (children[middle].place < place) low = middle + 1;
    else high = middle;
  }
  return low;
}
