/**
 * Reads a tree as it lies in memory (usually an mmap of the file): opening parses nothing, no entry becomes an object
 * until it is asked for. Inode numbers run from 1 (the root) to `inodeCount`, dirent numbers from 0.
 *
 * Whatever the bytes say, a read gives a value or throws LayerfsError corrupt, never something outside the file.
 * Open with `verify` to have everything checked at once.
 */
import { hex, latin1, writeLatin1 } from '../bytes.js';
import { type DiffID, digestFromBytes } from '../digest.js';
import { LayerfsError } from '../error.js';
import {
  DIGEST_SIZE,
  DIRENT,
  DIRENT_WORDS,
  IMPLIED,
  INODE,
  INODE_WORDS,
  LINK_WORDS,
  LOWER_LINK,
  MAX_SAFE_HIGH,
  MAX_NAME,
  MAX_TARGET,
  NONE,
  OPAQUE,
  ROOT,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  WHITEOUT,
  namePrefix,
} from './format.js';
import type { Xxh64 } from './hash.js';
import { type Sections, corruptTree, openSections, verifyChecksums } from './sections.js';
import { verifyStructure } from './verify.js';
import { type TreeEntry, walkTree } from './walk.js';
import { type Xattr, visitXattrs } from './xattr.js';

/** The immutable metadata of a layer, or of a merged stack of layers. */
export class Tree {
  /** The raw sections, for code that goes through all of them (merge). */
  readonly sections: Sections;
  readonly inodeCount: number;
  readonly direntCount: number;
  readonly objectCount: number;
  readonly layerCount: number;
  /** Names and link targets; {@link Tree.direntNameOffset} points into it. */
  readonly names: Uint8Array;
  readonly #inodes: Uint32Array;
  readonly #dirents: Uint32Array;
  readonly #scratch = new Uint8Array(MAX_NAME);

  private constructor(sections: Sections) {
    this.sections = sections;
    this.#inodes = sections.inodes;
    this.#dirents = sections.dirents;
    this.names = sections.names;
    this.inodeCount = sections.inodes.length / INODE_WORDS - 1;
    this.direntCount = sections.dirents.length / DIRENT_WORDS;
    this.objectCount = sections.objects.length / DIGEST_SIZE;
    this.layerCount = sections.layers.length / DIGEST_SIZE;
  }

  /**
   * Opens a file's bytes, which must not change afterwards. `verify` also compares all checksums and checks every
   * record, in time proportional to the size.
   * @throws LayerfsError corrupt, naming section, field and offset; unimplemented for another version of the format.
   */
  static open(file: ArrayBuffer | Uint8Array, options: { verify?: Xxh64 | undefined } = {}): Tree {
    const bytes = file instanceof Uint8Array ? file : new Uint8Array(file);
    const tree = new Tree(openSections(bytes));
    if ((tree.mode(ROOT) & S_IFMT) !== S_IFDIR) throw corruptTree('inodes', 'mode', INODE_WORDS * 4, 'no folder');
    if (options.verify !== undefined) {
      verifyChecksums(bytes, options.verify);
      verifyStructure(tree);
    }
    return tree;
  }

  // Inodes. Each takes an inode number and throws LayerfsError invalid-argument for one that is not in the tree.

  has(ino: number): boolean {
    return Number.isInteger(ino) && ino >= 1 && ino <= this.inodeCount;
  }

  /** Type and permissions, as in `st_mode`. */
  mode(ino: number): number {
    return this.#inodes[this.#at(ino) + INODE.mode];
  }

  nlink(ino: number): number {
    return this.#inodes[this.#at(ino) + INODE.nlink];
  }

  uid(ino: number): number {
    return this.#inodes[this.#at(ino) + INODE.uid];
  }

  gid(ino: number): number {
    return this.#inodes[this.#at(ino) + INODE.gid];
  }

  /** Bytes of content of a regular file, of the target of a symbolic link; 0 otherwise. */
  size(ino: number): number {
    const at = this.#at(ino);
    const high = this.#inodes[at + INODE.sizeHigh];
    if (high > MAX_SAFE_HIGH) throw corruptTree('inodes', 'size', at * 4 + 16, `over 2^53 (inode ${ino})`);
    return high * 0x1_0000_0000 + this.#inodes[at + INODE.sizeLow];
  }

  mtimeSec(ino: number): number {
    const at = this.#at(ino);
    const high = this.#inodes[at + INODE.mtimeHigh] | 0;
    if (high > MAX_SAFE_HIGH || high < -MAX_SAFE_HIGH - 1) {
      throw corruptTree('inodes', 'mtime', at * 4 + 24, `beyond 2^53 (inode ${ino})`);
    }
    return high * 0x1_0000_0000 + this.#inodes[at + INODE.mtimeLow];
  }

  mtimeNsec(ino: number): number {
    return this.#inodes[this.#at(ino) + INODE.mtimeNsec];
  }

  /** Device number in Linux's 32-bit encoding (what FUSE sends); 0 for anything but devices. */
  rdev(ino: number): number {
    return this.#inodes[this.#at(ino) + INODE.rdev];
  }

  /** Index into the layer table: which layer this inode is from. */
  layer(ino: number): number {
    return this.#inodes[this.#at(ino) + INODE.layerFlags] & 0xffff;
  }

  isOpaque(ino: number): boolean {
    return (this.#inodes[this.#at(ino) + INODE.layerFlags] & (OPAQUE << 16)) !== 0;
  }

  /** Whether this folder exists only because something lies in it, with attributes nobody gave. */
  isImplied(ino: number): boolean {
    return (this.#inodes[this.#at(ino) + INODE.layerFlags] & (IMPLIED << 16)) !== 0;
  }

  isDirectory(ino: number): boolean {
    return (this.mode(ino) & S_IFMT) === S_IFDIR;
  }

  /** The folder that a folder lies in; the root's is the root. 0 for what is no folder: it may have several. */
  parent(ino: number): number {
    const at = this.#at(ino);
    if ((this.#inodes[at + INODE.mode] & S_IFMT) !== S_IFDIR) return 0;
    const parent = this.#inodes[at + INODE.parent];
    // Numbers grow from parent to child: what rules out endless climbs.
    if (parent < 1 || (parent >= ino && ino !== ROOT)) {
      throw corruptTree('inodes', 'parent', at * 4 + 52, `${parent} (inode ${ino})`);
    }
    return parent;
  }

  /** The target's bytes, as a view. @throws LayerfsError invalid-argument if the inode is no symbolic link. */
  symlinkBytes(ino: number): Uint8Array {
    const at = this.#at(ino);
    if ((this.#inodes[at + INODE.mode] & S_IFMT) !== S_IFLNK) {
      throw new LayerfsError('invalid-argument', `inode ${ino} is no symbolic link`);
    }
    const start = this.#inodes[at + INODE.ref];
    const end = start + this.#inodes[at + INODE.refLength];
    if (end > this.names.length || end - start > MAX_TARGET) {
      throw corruptTree('inodes', 'target', at * 4 + 40, `out of range (inode ${ino})`);
    }
    return this.names.subarray(start, end);
  }

  symlinkTarget(ino: number): string {
    return latin1(this.symlinkBytes(ino));
  }

  /** Index into the object table of a regular file's content, -1 when it is empty or no regular file. */
  objectIndex(ino: number): number {
    const at = this.#at(ino);
    if ((this.#inodes[at + INODE.mode] & S_IFMT) !== S_IFREG) return -1;
    const index = this.#inodes[at + INODE.ref];
    if (index === NONE) return -1;
    if (index >= this.objectCount) throw corruptTree('inodes', 'object', at * 4 + 40, `${index} (inode ${ino})`);
    return index;
  }

  /** sha256 of a regular file's content, 64 hex digits; `undefined` when there is none. */
  objectDigest(ino: number): string | undefined {
    const index = this.objectIndex(ino);
    return index < 0 ? undefined : this.digestAt(index);
  }

  /** The sha256 at an index of the object table, 64 hex digits. */
  digestAt(index: number): string {
    if (!(index >= 0 && index < this.objectCount)) throw new LayerfsError('invalid-argument', `no object ${index}`);
    return hex(this.sections.objects, index * DIGEST_SIZE, (index + 1) * DIGEST_SIZE);
  }

  /** The diffID at an index of the layer table. */
  layerDigest(index: number): DiffID {
    if (!(index >= 0 && index < this.layerCount)) throw new LayerfsError('invalid-argument', `no layer ${index}`);
    return digestFromBytes(this.sections.layers.subarray(index * DIGEST_SIZE, (index + 1) * DIGEST_SIZE)) as DiffID;
  }

  hasXattrs(ino: number): boolean {
    return this.#inodes[this.#at(ino) + INODE.xattrs] !== NONE;
  }

  /** All extended attributes, sorted by name; the values are views. */
  xattrs(ino: number): Xattr[] {
    const list: Xattr[] = [];
    const pool = this.sections.xattrs;
    if (this.hasXattrs(ino)) {
      visitXattrs(pool, this.#inodes[this.#at(ino) + INODE.xattrs], (start, length, valueStart, valueLength) => {
        list.push([latin1(pool, start, start + length), pool.subarray(valueStart, valueStart + valueLength)]);
        return false;
      });
    }
    return list;
  }

  /** One extended attribute's value, as a view. */
  xattr(ino: number, name: string): Uint8Array | undefined {
    return this.xattrs(ino).find(([other]) => other === name)?.[1];
  }

  // Folders.

  /** The first dirent of a folder; its children are the next {@link childCount}. 0 for what is no folder. */
  firstDirent(ino: number): number {
    const at = this.#at(ino);
    return (this.#inodes[at + INODE.mode] & S_IFMT) === S_IFDIR ? this.#inodes[at + INODE.ref] : 0;
  }

  /** Number of dirents of a folder; 0 for what is no folder. */
  childCount(ino: number): number {
    const at = this.#at(ino);
    if ((this.#inodes[at + INODE.mode] & S_IFMT) !== S_IFDIR) return 0;
    const count = this.#inodes[at + INODE.refLength];
    if (this.#inodes[at + INODE.ref] + count > this.direntCount) {
      throw corruptTree('inodes', 'dirents', at * 4 + 40, `out of range (inode ${ino})`);
    }
    return count;
  }

  /** The dirent of a name in a folder, or -1. In a layer's own tree that may be a whiteout or a lower link. */
  lookup(ino: number, name: string): number {
    if (name.length > MAX_NAME) return -1;
    return this.lookupBytes(ino, this.#scratch, 0, writeLatin1(name, this.#scratch, 0));
  }

  /** {@link lookup} of the name `[start, end)` of `bytes`. */
  lookupBytes(ino: number, bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    const prefix = namePrefix(bytes, start, length);
    const dirents = this.#dirents;
    const names = this.names;
    let low = this.firstDirent(ino);
    let high = low + this.childCount(ino);
    // How many bytes the name shares with those just outside [low, high): all between share as many, so that the long
    // common prefixes of big folders are compared once, not at every step.
    let sharedLow = 0;
    let sharedHigh = 0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = middle * DIRENT_WORDS;
      let shared = sharedLow < sharedHigh ? sharedLow : sharedHigh;
      let order = shared < 4 ? prefix - dirents[at + DIRENT.prefix] : 0;
      if (order !== 0) shared = Math.clz32(prefix ^ dirents[at + DIRENT.prefix]) >>> 3;
      else {
        const otherStart = dirents[at + DIRENT.nameOffset];
        const otherLength = dirents[at + DIRENT.lengthTypeFlags] & 0xffff;
        if (otherStart + otherLength > names.length) throw this.#badName(middle);
        const shorter = length < otherLength ? length : otherLength;
        if (shared < 4) shared = 4;
        while (shared < shorter && bytes[start + shared] === names[otherStart + shared]) shared++;
        order = shared < shorter ? bytes[start + shared] - names[otherStart + shared] : length - otherLength;
        if (order === 0) return middle;
      }
      if (order < 0) {
        high = middle;
        sharedHigh = shared;
      } else {
        low = middle + 1;
        sharedLow = shared;
      }
    }
    return -1;
  }

  // Dirents. Each takes a dirent number and throws LayerfsError invalid-argument for one that is not in the tree.

  direntName(dirent: number): string {
    const start = this.direntNameOffset(dirent);
    return latin1(this.names, start, start + this.direntNameLength(dirent));
  }

  /** Where the name starts in {@link names}. */
  direntNameOffset(dirent: number): number {
    const at = this.#direntAt(dirent);
    const start = this.#dirents[at + DIRENT.nameOffset];
    if (start + (this.#dirents[at + DIRENT.lengthTypeFlags] & 0xffff) > this.names.length) throw this.#badName(dirent);
    return start;
  }

  /** 1 … 255. */
  direntNameLength(dirent: number): number {
    const length = this.#dirents[this.#direntAt(dirent) + DIRENT.lengthTypeFlags] & 0xffff;
    // Whoever copies a name relies on this.
    if (length === 0 || length > MAX_NAME) throw this.#badName(dirent);
    return length;
  }

  /** DT_*; 0 for whiteouts and lower links. */
  direntType(dirent: number): number {
    return (this.#dirents[this.#direntAt(dirent) + DIRENT.lengthTypeFlags] >>> 16) & 0xff;
  }

  /** The inode, 0 for whiteouts and lower links. */
  direntInode(dirent: number): number {
    const at = this.#direntAt(dirent);
    if (this.#dirents[at + DIRENT.lengthTypeFlags] >>> 24 !== 0) return 0;
    const ino = this.#dirents[at + DIRENT.inode];
    if (ino < 1 || ino > this.inodeCount) throw corruptTree('dirents', 'inode', at * 4 + 8, `${ino}`);
    return ino;
  }

  isWhiteout(dirent: number): boolean {
    return ((this.#dirents[this.#direntAt(dirent) + DIRENT.lengthTypeFlags] >>> 24) & WHITEOUT) !== 0;
  }

  /** Whether this is a hardlink to a path of a lower layer. */
  isLowerLink(dirent: number): boolean {
    return ((this.#dirents[this.#direntAt(dirent) + DIRENT.lengthTypeFlags] >>> 24) & LOWER_LINK) !== 0;
  }

  /** The path that a lower link stands for, without a leading slash. */
  lowerLinkTarget(dirent: number): string {
    const at = this.#direntAt(dirent);
    const link = this.#dirents[at + DIRENT.inode] * LINK_WORDS;
    const { links } = this.sections;
    if (!this.isLowerLink(dirent)) throw new LayerfsError('invalid-argument', `dirent ${dirent} is no lower link`);
    if (link >= links.length) throw corruptTree('dirents', 'link', at * 4 + 8, 'out of range');
    if (links[link] + links[link + 1] > this.names.length) throw corruptTree('links', 'path', link * 4, 'out of range');
    return latin1(this.names, links[link], links[link] + links[link + 1]);
  }

  // Paths: byte strings without a leading slash; the root's is empty.

  /** The inode at a path, symbolic links not followed; 0 when there is none. Empty components and a leading slash do not count. */
  resolve(path: string): number {
    let ino: number = ROOT;
    for (const name of path.split('/')) {
      if (name === '') continue;
      const dirent = this.lookup(ino, name);
      if (dirent < 0) return 0;
      ino = this.direntInode(dirent);
      if (ino === 0) return 0;
    }
    return ino;
  }

  /** The path of a folder. @throws LayerfsError invalid-argument for what is no folder: it may have several. */
  path(ino: number): string {
    const parts: string[] = [];
    for (let at = ino; at !== ROOT;) {
      const parent = this.parent(at);
      if (parent === 0) throw new LayerfsError('invalid-argument', `inode ${ino} is no folder`);
      parts.push(this.#nameIn(parent, at));
      at = parent;
    }
    return parts.toReversed().join('/');
  }

  /**
   * Every entry, depth first, folders before what is in them, names in byte order; whiteouts and lower links too
   * (their `ino` is 0). The root is not among them.
   * @throws LayerfsError corrupt instead of going in circles.
   */
  walk(): Generator<TreeEntry, void> {
    return walkTree(this);
  }

  #nameIn(parent: number, ino: number): string {
    const first = this.firstDirent(parent);
    const end = first + this.childCount(parent);
    for (let dirent = first; dirent < end; dirent++) {
      if (this.direntInode(dirent) === ino) return this.direntName(dirent);
    }
    throw corruptTree('inodes', 'parent', ino * INODE_WORDS * 4 + 52, `folder ${parent} does not hold inode ${ino}`);
  }

  #at(ino: number): number {
    if (!this.has(ino)) throw new LayerfsError('invalid-argument', `tree: no inode ${ino}`);
    return ino * INODE_WORDS;
  }

  #direntAt(dirent: number): number {
    if (!(dirent >= 0 && dirent < this.direntCount))
      throw new LayerfsError('invalid-argument', `tree: no dirent ${dirent}`);
    return dirent * DIRENT_WORDS;
  }

  #badName(dirent: number): LayerfsError {
    return corruptTree('dirents', 'name', dirent * DIRENT_WORDS * 4, 'out of range');
  }
}
