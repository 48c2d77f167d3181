import type { Attr } from '@layerfs/fuse';
import { isOverlayXattr } from '../../core/overlay/format.js';
import { ROOT, S_IFDIR, S_IFMT } from '../../core/tree/format.js';
import type { Tree } from '../../core/tree/tree.js';
import type { ObjectFolder } from '../filesystem/objects.js';
import type { Lower, LowerName, LowerNode } from './lower.js';

const FOLDER_SIZE = 4096;
const HOLE = 64 * 1024;

/** The merged tree of a stack from the store as a {@link Lower}: nodes are the tree's inode numbers. */
export class TreeLower implements Lower {
  readonly inoLimit: number;
  readonly mayHaveXattrs: boolean;
  readonly #tree: Tree;
  readonly #objects: ObjectFolder;
  #names: NameIndex | undefined;

  constructor(tree: Tree, objects: ObjectFolder) {
    this.#tree = tree;
    this.#objects = objects;
    this.inoLimit = tree.inodeCount + 1;
    this.mayHaveXattrs = tree.sections.xattrs.length > 0;
  }

  childCount(folder: LowerNode): number {
    return this.#tree.childCount(folder);
  }
  childName(folder: LowerNode, index: number): string {
    return this.#tree.direntName(this.#tree.firstDirent(folder) + index);
  }
  childNode(folder: LowerNode, index: number): LowerNode {
    return this.#tree.direntInode(this.#tree.firstDirent(folder) + index);
  }
  childType(folder: LowerNode, index: number): number {
    return this.#tree.direntType(this.#tree.firstDirent(folder) + index);
  }
  lookup(folder: LowerNode, name: string): LowerNode {
    const dirent = this.#tree.lookup(folder, name);
    return dirent < 0 ? 0 : this.#tree.direntInode(dirent);
  }
  mode(node: LowerNode): number {
    return this.#tree.mode(node);
  }

  ino(node: LowerNode): number {
    return node;
  }

  fill(node: LowerNode, attr: Attr): void {
    const tree = this.#tree;
    const mode = tree.mode(node);
    const size = (mode & S_IFMT) === S_IFDIR ? FOLDER_SIZE : tree.size(node);
    attr.ino = node;
    attr.mode = mode;
    attr.size = size;
    attr.blocks = size < HOLE ? Math.ceil(size / 512) : this.#blocks(node, size);
    attr.nlink = tree.nlink(node);
    attr.uid = tree.uid(node);
    attr.gid = tree.gid(node);
    attr.rdev = tree.rdev(node);
    attr.atimeSec = attr.mtimeSec = attr.ctimeSec = tree.mtimeSec(node);
    attr.atimeNsec = attr.mtimeNsec = attr.ctimeNsec = tree.mtimeNsec(node);
  }

  // What is written sparse has holes of at least this size.
  #blocks(node: LowerNode, size: number): number {
    const object = this.#tree.objectIndex(node);
    return object < 0 ? Math.ceil(size / 512) : this.#objects.blocks(object, size);
  }

  parent(folder: LowerNode): LowerNode {
    return this.#tree.parent(folder);
  }
  names(node: LowerNode): readonly LowerName[] {
    return (this.#names ??= new NameIndex(this.#tree)).names(node);
  }
  readlink(node: LowerNode): Uint8Array {
    return this.#tree.symlinkBytes(node);
  }
  xattrs(node: LowerNode): readonly (readonly [name: string, value: Uint8Array])[] {
    if (!this.#tree.hasXattrs(node)) return [];
    // A layer's tar may hold any: in an upper folder these would mean something.
    return this.#tree.xattrs(node).filter(([name]) => !isOverlayXattr(name));
  }
  xattr(node: LowerNode, name: string): Uint8Array | undefined {
    return this.#tree.hasXattrs(node) && !isOverlayXattr(name) ? this.#tree.xattr(node, name) : undefined;
  }
  openContent(node: LowerNode): number {
    const object = this.#tree.objectIndex(node);
    return object < 0 ? -1 : this.#objects.open(object, this.#tree.size(node));
  }
  verifyLater(node: LowerNode, done: () => void): boolean {
    const object = this.#tree.objectIndex(node);
    return object >= 0 && this.#objects.verifyLater(object, this.#tree.size(node), done);
  }
  spare(): boolean {
    return this.#objects.readAhead();
  }
  rest(): void {
    this.#objects.rest();
  }
  nodeOf(ino: number): LowerNode {
    return this.#tree.has(ino) ? ino : 0;
  }
  contentKey(node: LowerNode): number {
    return this.#tree.objectIndex(node) + 1;
  }
  close(): void {
    this.#objects.close();
  }
}

/** The tree says for a folder which names it has, not for a file where its names are: made on first use, in one pass. */
class NameIndex {
  readonly #tree: Tree;
  /** For each inode one of its dirents and 1. */
  readonly #first: Uint32Array;
  /** For each dirent another one of the same inode and 1, and the folder that it lies in. */
  readonly #next: Uint32Array;
  readonly #folder: Uint32Array;

  constructor(tree: Tree) {
    this.#tree = tree;
    this.#first = new Uint32Array(tree.inodeCount + 1);
    this.#next = new Uint32Array(tree.direntCount);
    this.#folder = new Uint32Array(tree.direntCount);
    for (let folder = ROOT; folder <= tree.inodeCount; folder++) {
      const first = tree.firstDirent(folder);
      const end = first + tree.childCount(folder);
      for (let dirent = first; dirent < end; dirent++) {
        const ino = tree.direntInode(dirent);
        this.#folder[dirent] = folder;
        this.#next[dirent] = this.#first[ino];
        this.#first[ino] = dirent + 1;
      }
    }
  }

  names(ino: number): LowerName[] {
    const names: LowerName[] = [];
    // Each step leads to an earlier dirent, so it ends.
    for (let at = this.#first[ino]; at !== 0; at = this.#next[at - 1]) {
      names.push({ folder: this.#folder[at - 1], name: this.#tree.direntName(at - 1) });
    }
    return names.toReversed();
  }
}
