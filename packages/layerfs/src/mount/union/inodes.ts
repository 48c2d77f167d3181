import type { Statx } from '@layerfs/linux';
import { S_IFDIR } from '../../core/tree/format.js';
import type { LowerNode } from './lower.js';
import type { Places } from './places.js';

/** nodeids below this are lower nodes, from this on they are counted. */
const FIRST_OWN = 2 ** 32;

/** One name of a file in the upper folder. */
export interface UpperName {
  readonly folder: Folder;
  /** Bytes as latin1. */
  name: string;
}

/**
 * A file of the merged root of which there is more to say than the lower does. Whatever has none is exactly as the
 * lower says, and its nodeid is its lower node.
 */
export class Inode {
  /** The newest nodeid; an older one may still be in use by the kernel. */
  nodeid: number;
  /** Its nodeid at first. */
  readonly first: number;
  /** What stat shows, for good. */
  readonly ino: number;
  /** S_IFMT bits. */
  readonly type: number;
  /** What the lower says of it (all but content when copied up with its data); 0: nothing. */
  lower: LowerNode;
  /** It exists in upper. */
  upper = false;
  /** Its inode number there. */
  upperIno = 0;
  /** The upper file has everything but the content, which is still the lower's. */
  metacopy = false;
  /** Its content is being brought to upper; who waits for that. */
  completing: ((error: unknown) => void)[] | undefined;
  /** Where it lies in upper. Empty when all known names are gone while it is still in use: then `orphan` leads to it. */
  names: UpperName[] = [];
  /** A descriptor of a file without a name, or -1. */
  orphan = -1;
  /** What stat said last of a file whose last name is gone and that nobody has open. */
  ghost: Statx | undefined;
  /** It is known to have no extended attributes. */
  bare = false;
  /** Not in upper, and without a name any more. */
  gone = false;
  /** Handles that can write. */
  writers = 0;
  /** What must not be forgotten although the kernel has: children, handles. */
  pins = 0;
  /** nodeids of it that the kernel holds. */
  held = 0;

  constructor(nodeid: number, ino: number, type: number, lower: LowerNode) {
    this.nodeid = nodeid;
    this.first = nodeid;
    this.ino = ino;
    this.type = type;
    this.lower = lower;
  }
}

/** A folder: where it lies in the merged root, and what it is merged from. `lower` is 0 for one that is opaque. */
export class Folder extends Inode {
  /** undefined: the root, or one that is removed. */
  parent: Folder | undefined;
  name: string;
  removed = false;
  /** Sub-folders in the merged view; -1: not counted yet. */
  subfolders = -1;
  /** Grows whenever one of its names comes or goes. */
  version = 0;
  /** The group of what is made in a set-group-ID folder, -1: it is who makes it who says; undefined: not looked at yet. */
  heir: number | undefined;
  /** Made in this mount: there is no whiteout in it without something of the lower below. */
  tidy = false;
  /** Whether what is made in it inherits an ACL; undefined: not looked at yet. */
  defaultAcl: boolean | undefined;
  /** Where its names are in listings; undefined: it was not listed yet. */
  places: Places | undefined;

  constructor(nodeid: number, ino: number, lower: LowerNode, parent: Folder | undefined, name: string) {
    super(nodeid, ino, S_IFDIR, lower);
    this.parent = parent;
    this.name = name;
  }
}

/** All {@link Inode}s by nodeid, with what the kernel holds of them. */
export class InodeTable {
  readonly #inodes = new Map<number, Inode>();
  readonly #byUpper = new Map<number, Inode>();
  /** How often a lower node was told to the kernel; grows with the largest number. */
  #lowerLookups = new Uint32Array(1024);
  readonly #lookups = new Map<number, number>();
  #next = FIRST_OWN;
  readonly #dropped: (inode: Inode) => void;

  /** @param dropped called when nothing needs an inode any more, to close what it holds open */
  constructor(dropped: (inode: Inode) => void) {
    this.#dropped = dropped;
  }

  get(nodeid: number): Inode | undefined {
    return this.#inodes.get(nodeid);
  }

  /** The inode of a file in upper. */
  byUpper(upperIno: number): Inode | undefined {
    return this.#byUpper.get(upperIno);
  }

  /** A nodeid that was never used. */
  fresh(): number {
    return this.#next++;
  }

  /** A lower node as nodeid if that is free, else a fresh one. */
  nodeidFor(lower: LowerNode): number {
    return lower === 0 || this.#inodes.has(lower) ? this.fresh() : lower;
  }

  add(inode: Inode): void {
    this.#inodes.set(inode.nodeid, inode);
    if (inode.nodeid < FIRST_OWN && this.#lowerCount(inode.nodeid) > 0) inode.held++;
    if (inode.upper) this.#byUpper.set(inode.upperIno, inode);
  }

  /** It exists in upper from now on. */
  setUpper(inode: Inode, upperIno: number): void {
    inode.upper = true;
    inode.upperIno = upperIno;
    this.#byUpper.set(upperIno, inode);
  }

  /** The upper file is gone, and its number may be used for another one. */
  clearUpper(inode: Inode): void {
    if (this.#byUpper.get(inode.upperIno) === inode) this.#byUpper.delete(inode.upperIno);
  }

  /** Gives an inode a new nodeid; the old one stays good for whoever has it. */
  renumber(inode: Inode): void {
    inode.nodeid = this.fresh();
    this.#inodes.set(inode.nodeid, inode);
  }

  #lowerCount(node: LowerNode): number {
    return node < this.#lowerLookups.length ? this.#lowerLookups[node] : 0;
  }

  /** The kernel was told of a nodeid once more. */
  looked(nodeid: number): void {
    if (nodeid < FIRST_OWN) {
      if (nodeid >= this.#lowerLookups.length) {
        const grown = new Uint32Array(Math.max(nodeid + 1, this.#lowerLookups.length * 2));
        grown.set(this.#lowerLookups);
        this.#lowerLookups = grown;
      }
      if (this.#lowerLookups[nodeid]++ > 0) return;
    } else {
      const count = this.#lookups.get(nodeid) ?? 0;
      this.#lookups.set(nodeid, count + 1);
      if (count > 0) return;
    }
    const inode = this.#inodes.get(nodeid);
    if (inode !== undefined) inode.held++;
  }

  /** The kernel gives lookups back. */
  forget(nodeid: number, count: number): void {
    if (nodeid < FIRST_OWN) {
      const have = this.#lowerCount(nodeid);
      if (have === 0) return;
      this.#lowerLookups[nodeid] = Math.max(0, have - count);
      if (have > count) return;
    } else {
      const have = this.#lookups.get(nodeid);
      if (have === undefined) return;
      if (have > count) {
        this.#lookups.set(nodeid, have - count);
        return;
      }
      this.#lookups.delete(nodeid);
    }
    const inode = this.#inodes.get(nodeid);
    if (inode === undefined) return;
    inode.held--;
    if (nodeid !== inode.nodeid) this.#inodes.delete(nodeid);
    this.release(inode);
  }

  /** A file has one more name that is known. */
  addName(inode: Inode, folder: Folder, name: string): void {
    if (inode.names.some((other) => other.folder === folder && other.name === name)) return;
    inode.names.push({ folder, name });
    folder.pins++;
  }

  /** A name is gone. */
  removeName(inode: Inode, folder: Folder, name: string): void {
    const index = inode.names.findIndex((other) => other.folder === folder && other.name === name);
    if (index < 0) return;
    inode.names.splice(index, 1);
    this.unpin(folder);
  }

  /** A folder lies elsewhere now; undefined: nowhere. */
  place(inode: Folder, parent: Folder | undefined, name: string): void {
    const before = inode.parent;
    if (parent !== undefined) parent.pins++;
    inode.parent = parent;
    inode.name = name;
    if (before !== undefined) this.unpin(before);
  }

  pin(inode: Inode): void {
    inode.pins++;
  }

  unpin(inode: Inode): void {
    inode.pins--;
    this.release(inode);
  }

  /** Drops an inode that nobody needs. A folder that continues a lower one stays: what lies below finds its place by it. */
  release(inode: Inode): void {
    if (inode.held > 0 || inode.pins > 0) return;
    if (inode instanceof Folder && inode.lower !== 0) return;
    if (this.#inodes.get(inode.nodeid) !== inode) return;
    this.#inodes.delete(inode.nodeid);
    if (this.#byUpper.get(inode.upperIno) === inode) this.#byUpper.delete(inode.upperIno);
    this.#dropped(inode);
    const parents = inode instanceof Folder ? [inode.parent] : inode.names.map(({ folder }) => folder);
    inode.names = [];
    for (const parent of parents) if (parent !== undefined) this.unpin(parent);
  }

  /** All of them, to close what they hold. */
  values(): Iterable<Inode> {
    return new Set(this.#inodes.values());
  }
}
