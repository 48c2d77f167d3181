import type { Attr } from '@layerfs/fuse';
import { ErrnoError, close, errno, unlinkat, type Statx } from '@layerfs/linux';
import { latin1, latin1Bytes } from '../../core/bytes.js';
import { LayerfsError } from '../../core/error.js';
import * as format from '../../core/overlay/format.js';
import { ROOT, S_IFDIR, S_IFMT, S_IFREG } from '../../core/tree/format.js';
import { Folder, Inode, InodeTable } from './inodes.js';
import type { Lower, LowerNode } from './lower.js';
import { Places } from './places.js';
import { NO_MARKS, type Upper } from './upper.js';

/** Inode numbers of files that only upper has lie this much above the largest of the lower. */
const UPPER_INO = 2 ** 40;
/** Least size of a folder. */
export const FOLDER_SIZE = 4096;

/** One entry of a merged folder. */
export interface Child {
  /** Bytes as latin1. */
  readonly name: string;
  /** As the lower says it, when it is not an inode of its own; undefined for one that cannot be looked at. */
  readonly node: Inode | LowerNode | undefined;
  /** A number that grows along the listing: the lower's index, or one behind all of those. */
  readonly place: number;
}

/** Upper over lower: which file a name leads to, and what is known of it. Changes are made by others. */
export class Union {
  readonly lower: Lower;
  readonly upper: Upper;
  readonly table: InodeTable;
  readonly root: Folder;

  constructor(lower: Lower, upper: Upper) {
    this.lower = lower;
    this.upper = upper;
    this.table = new InodeTable((inode) => {
      if (inode.orphan >= 0) close(inode.orphan);
      if (inode instanceof Folder) upper.forget(inode);
    });
    const opaque = this.#opaque(upper.root);
    this.root = new Folder(ROOT, ROOT, opaque ? 0 : ROOT, undefined, '');
    this.root.pins = 1;
    this.table.add(this.root);
    this.table.setUpper(this.root, this.upper.stat(this.root).ino);
    for (const { ino, upperIno } of upper.unfinished) this.#undo(lower.nodeOf(ino), upperIno);
  }

  /** Takes away the names that a file of upper got in place of a lower one's, because it did not get all. */
  #undo(node: LowerNode, upperIno: number): void {
    if (node === 0) return;
    for (const { folder, name } of this.lower.names(node)) {
      let place: Folder;
      try {
        place = this.folder(folder);
      } catch (error) {
        if (error instanceof ErrnoError && error.errno === errno.ESTALE) continue;
        throw error;
      }
      if (!place.upper || this.upper.entry(place, name)?.ino !== upperIno) continue;
      unlinkat(this.upper.dir(place), latin1Bytes(name));
    }
  }

  /** Closes everything: the mount has ended. */
  close(): void {
    for (const inode of this.table.values()) if (inode.orphan >= 0) close(inode.orphan);
    this.upper.close();
    this.lower.close();
  }

  /** The inode of a nodeid, or its lower node when there is nothing more to say. @throws ErrnoError ESTALE */
  find(nodeid: number): Inode | LowerNode {
    const inode = this.table.get(nodeid);
    if (inode !== undefined) return inode;
    // A nodeid that was forgotten or never given; those of the lower are all good.
    if (nodeid < 1 || nodeid >= 2 ** 32) throw new ErrnoError(errno.ESTALE, 'nodeid');
    return nodeid;
  }

  type(node: Inode | LowerNode): number {
    return typeof node === 'number' ? this.lower.mode(node) & S_IFMT : node.type;
  }

  /** The nodeid to tell the kernel. */
  nodeid(node: Inode | LowerNode): number {
    return typeof node === 'number' ? node : node.nodeid;
  }

  /** A folder by nodeid, as an inode: with its place in the merged root. @throws ErrnoError ENOTDIR, ESTALE */
  folder(nodeid: number): Folder {
    const node = this.find(nodeid);
    if (this.type(node) !== S_IFDIR) throw new ErrnoError(errno.ENOTDIR, 'folder');
    return node instanceof Folder ? node : this.#raise(node as LowerNode);
  }

  /** Makes the inode of a lower folder of which upper knows nothing. */
  #raise(lower: LowerNode): Folder {
    const [at] = this.lower.names(lower);
    if (at === undefined) throw new ErrnoError(errno.ESTALE, 'lower folder');
    const parent = this.folder(at.folder);
    const found = parent.lower === at.folder ? this.lookup(parent, at.name) : undefined;
    if (found instanceof Folder && found.lower === lower) return found;
    // Moved by an earlier mount, and not met again in this one.
    if (found !== lower) throw new ErrnoError(errno.ESTALE, 'lower folder');
    const folder = new Folder(lower, this.lower.ino(lower), lower, undefined, at.name);
    this.table.add(folder);
    this.table.place(folder, parent, at.name);
    return folder;
  }

  #lowerBlocks(lower: LowerNode): number {
    this.lower.fill(lower, this.#scratch);
    return this.#scratch.blocks;
  }
  readonly #scratch: Attr = Object.assign(Object.create(null) as Attr, { ino: 0 });

  /** What the lower has at a name of a merged folder, whether or not upper hides it; 0: nothing. */
  below(folder: Folder, name: string): LowerNode {
    return folder.lower === 0 ? 0 : this.lower.lookup(folder.lower, name);
  }

  /** What a name leads to; undefined: there is none. */
  lookup(folder: Inode | LowerNode, name: string): Inode | LowerNode | undefined {
    if (typeof folder === 'number') {
      const node = this.lower.lookup(folder, name);
      return node === 0 ? undefined : (this.table.get(node) ?? node);
    }
    if (!(folder instanceof Folder)) throw new ErrnoError(errno.ENOTDIR, 'lookup');
    if (folder.removed) return undefined;
    if (folder.upper) {
      const stat = this.upper.entry(folder, name);
      if (stat !== undefined)
        return this.upper.isWhiteout(folder, name, stat) ? undefined : this.adopt(folder, name, stat);
    }
    const node = this.below(folder, name);
    return node === 0 ? undefined : (this.table.get(node) ?? node);
  }

  /** The inode of an entry of upper. */
  adopt(folder: Folder, name: string, stat: Statx): Inode {
    const known = this.table.byUpper(stat.ino);
    if (known !== undefined && known.type === (stat.mode & S_IFMT)) {
      if (!(known instanceof Folder)) this.table.addName(known, folder, name);
      return known;
    }
    return (stat.mode & S_IFMT) === S_IFDIR
      ? this.#adoptFolder(folder, name, stat)
      : this.#adoptFile(folder, name, stat);
  }

  #adoptFolder(parent: Folder, name: string, stat: Statx): Folder {
    const target = this.upper.path({ dir: this.upper.dir(parent), name: latin1Bytes(name) });
    const marks = this.upper.marks(target);
    const opaque = marks.has(format.OPAQUE) && this.#opaque(target);
    const lower = opaque ? 0 : this.#continued(parent, name, target, S_IFDIR, marks);
    const raised = lower === 0 ? undefined : this.table.get(lower);
    // Known from before upper had it, or continued by two folders, which only a stranger's upper can have.
    const nodeid = this.table.nodeidFor(raised === undefined ? lower : 0);
    const folder = new Folder(nodeid, this.#ino(stat, target, lower, marks), lower, undefined, name);
    folder.bare = marks === NO_MARKS;
    this.table.add(folder);
    this.table.setUpper(folder, stat.ino);
    this.table.place(folder, parent, name);
    return folder;
  }

  #adoptFile(folder: Folder, name: string, stat: Statx): Inode {
    const type = stat.mode & S_IFMT;
    const target = this.upper.path({ dir: this.upper.dir(folder), name: latin1Bytes(name) });
    const marks = this.upper.marks(target);
    const metacopy = type === S_IFREG && marks.has(format.METACOPY);
    const lower = metacopy ? this.#continued(folder, name, target, S_IFREG, marks) : 0;
    if (metacopy && lower === 0) throw new ErrnoError(errno.EIO, 'metacopy without a lower file');
    const inode = new Inode(this.table.nodeidFor(lower), this.#ino(stat, target, lower, marks), type, lower);
    inode.metacopy = metacopy;
    inode.bare = marks === NO_MARKS;
    this.table.add(inode);
    this.table.setUpper(inode, stat.ino);
    this.table.addName(inode, folder, name);
    return inode;
  }

  /** The inode of a new file in upper, of which nothing need be looked up. @param bare it can have no attributes */
  newFile(stat: Statx, bare: boolean): Inode {
    const inode = new Inode(this.table.fresh(), UPPER_INO + stat.ino, stat.mode & S_IFMT, 0);
    inode.bare = bare;
    this.table.add(inode);
    this.table.setUpper(inode, stat.ino);
    return inode;
  }

  /** The inode of a new folder in upper. */
  newFolder(stat: Statx, parent: Folder, name: string, bare: boolean): Folder {
    const folder = new Folder(this.table.fresh(), UPPER_INO + stat.ino, 0, undefined, name);
    folder.bare = bare;
    folder.subfolders = 0;
    folder.tidy = true;
    this.table.add(folder);
    this.table.setUpper(folder, stat.ino);
    this.table.place(folder, parent, name);
    return folder;
  }

  #opaque(target: Uint8Array | number): boolean {
    const value = this.upper.marked(target, format.OPAQUE);
    return value !== undefined && latin1(value) === 'y';
  }

  /** The lower file that an upper one goes on with: that of its redirect, else that of its name. 0: none of that type. */
  #continued(parent: Folder, name: string, target: Uint8Array, type: number, marks: ReadonlySet<string>): LowerNode {
    const value = marks.has(format.REDIRECT) ? this.upper.marked(target, format.REDIRECT) : undefined;
    let node: LowerNode;
    if (value === undefined) node = this.below(parent, name);
    else {
      const { absolute, names } = redirect(latin1(value));
      node = absolute ? ROOT : parent.lower;
      for (const step of names) node = node === 0 ? 0 : this.lower.lookup(node, step);
    }
    return node !== 0 && (this.lower.mode(node) & S_IFMT) === type ? node : 0;
  }

  /** st_ino of a file of upper: that which it had before copy-up, for good. */
  #ino(stat: Statx, target: Uint8Array, lower: LowerNode, marks: ReadonlySet<string>): number {
    const origin = marks.has(format.ORIGIN_INO) ? this.upper.marked(target, format.ORIGIN_INO) : undefined;
    if (origin?.length === 8) return Number(Buffer.from(origin).readBigUInt64LE());
    return lower === 0 ? UPPER_INO + stat.ino : this.lower.ino(lower);
  }

  /** Fills what stat shows. @param known what stat of the upper file says, where that was just asked */
  fill(node: Inode | LowerNode, attr: Attr, known?: Statx): void {
    if (typeof node === 'number') {
      this.lower.fill(node, attr);
      return;
    }
    if (!node.upper) this.lower.fill(node.lower, attr);
    else {
      fillStat(known ?? node.ghost ?? this.upper.stat(node), attr);
      // Its blocks are the lower's.
      if (node.metacopy) attr.blocks = this.#lowerBlocks(node.lower);
    }
    attr.ino = node.ino;
    if (node.gone) attr.nlink = 0;
    if (!(node instanceof Folder)) return;
    // As the lower's: a copy-up must not show, and some filesystems count in bytes of their own.
    attr.size = Math.max(attr.size, FOLDER_SIZE);
    attr.nlink = node.removed ? 0 : this.folderLinks(node, attr.nlink);
  }

  /** A folder's nlink: its name, its `.`, and each sub-folder's `..`. @param disk what the disk says of it */
  folderLinks(folder: Folder, disk: number): number {
    if (folder.subfolders < 0) {
      // Right on most filesystems for what is in upper alone; some always say 1.
      const alone = folder.upper && folder.lower === 0 && disk >= 2;
      folder.subfolders = alone ? disk - 2 : folder.upper ? this.#countFolders(folder) : disk - 2;
    }
    return 2 + folder.subfolders;
  }

  #countFolders(folder: Folder): number {
    let count = 0;
    const hidden = new Set<string>();
    for (const entry of this.upper.list(folder)) {
      hidden.add(entry.name);
      if (entry.isFolder) count++;
    }
    if (folder.lower === 0) return count;
    const children = this.lower.childCount(folder.lower);
    for (let i = 0; i < children; i++) {
      if (this.lower.childType(folder.lower, i) === DT_DIR && !hidden.has(this.lower.childName(folder.lower, i)))
        count++;
    }
    return count;
  }

  /**
   * All names of a folder that may have something in upper, `.` and `..` left out, by their places. The kernel keeps what
   * a listing said, and goes on with it in another one: a name has the same place in all listings.
   */
  children(folder: Folder): Child[] {
    if (folder.removed) return [];
    /** undefined: a whiteout. */
    const above = new Map<string, { node: Inode | undefined } | undefined>();
    for (const { name, isWhiteout } of folder.upper ? this.upper.list(folder) : []) {
      const stat = isWhiteout ? undefined : this.upper.entry(folder, name);
      if (stat !== undefined) above.set(name, { node: this.#tryAdopt(folder, name, stat) });
      else if (isWhiteout) above.set(name, undefined);
    }
    const children: Child[] = [];
    const count = folder.lower === 0 ? 0 : this.lower.childCount(folder.lower);
    for (let place = 0; place < count; place++) {
      const name = this.lower.childName(folder.lower, place);
      if (above.has(name)) {
        const entry = above.get(name);
        if (entry !== undefined) children.push({ name, node: entry.node, place });
        above.delete(name);
      } else {
        const node = this.lower.childNode(folder.lower, place);
        children.push({ name, node: this.table.get(node) ?? node, place });
      }
    }
    const added: Child[] = [];
    for (const [name, place] of (folder.places ??= new Places()).update([...above.keys()])) {
      const entry = above.get(name);
      if (entry !== undefined) added.push({ name, node: entry.node, place: count + place });
    }
    added.sort((one, other) => one.place - other.place);
    for (const child of added) children.push(child);
    return children;
  }

  /** A bad entry must not keep the others from being listed: whoever looks it up is told. */
  #tryAdopt(folder: Folder, name: string, stat: Statx): Inode | undefined {
    try {
      return this.adopt(folder, name, stat);
    } catch (error) {
      if (error instanceof ErrnoError) return undefined;
      throw error;
    }
  }

  /** Whether a folder shows nothing. */
  isEmpty(folder: Inode | LowerNode): boolean {
    if (typeof folder === 'number') return this.lower.childCount(folder) === 0;
    if (!(folder instanceof Folder)) return true;
    const hidden = new Set<string>();
    if (folder.upper) {
      for (const entry of this.upper.list(folder)) {
        if (!entry.isWhiteout) return false;
        hidden.add(entry.name);
      }
    }
    const count = folder.lower === 0 ? 0 : this.lower.childCount(folder.lower);
    if (count > hidden.size) return false;
    for (let i = 0; i < count; i++) if (!hidden.has(this.lower.childName(folder.lower, i))) return false;
    return true;
  }

  /** Where a lower file lies in the lower, as an absolute path: what a redirect says. */
  lowerPath(node: LowerNode): string {
    const names: string[] = [];
    for (let at = node; at !== ROOT;) {
      const [first] = this.lower.names(at);
      if (first === undefined) throw new ErrnoError(errno.EIO, 'lower path');
      names.push(first.name);
      at = first.folder;
    }
    return `/${names.toReversed().join('/')}`;
  }
}

const DT_DIR = 4;

function redirect(value: string): { readonly absolute: boolean; readonly names: readonly string[] } {
  try {
    return format.parseRedirect(value);
  } catch (error) {
    if (error instanceof LayerfsError) throw new ErrnoError(errno.EIO, 'overlay.redirect');
    throw error;
  }
}

/** statx(2)'s answer as FUSE wants it. */
export function fillStat(stat: Statx, attr: Attr): void {
  attr.ino = stat.ino;
  attr.mode = stat.mode;
  attr.size = stat.size;
  attr.blocks = stat.blocks;
  attr.nlink = stat.nlink;
  attr.uid = stat.uid;
  attr.gid = stat.gid;
  attr.rdev = ((stat.rdevMinor & 0xff) | (stat.rdevMajor << 8) | ((stat.rdevMinor & ~0xff) << 12)) >>> 0;
  attr.atimeSec = stat.atimeSec;
  attr.atimeNsec = stat.atimeNsec;
  attr.mtimeSec = stat.mtimeSec;
  attr.mtimeNsec = stat.mtimeNsec;
  attr.ctimeSec = stat.ctimeSec;
  attr.ctimeNsec = stat.ctimeNsec;
}
