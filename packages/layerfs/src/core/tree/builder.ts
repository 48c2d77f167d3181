/**
 * Builds the tree of one layer (or of a folder) in memory. All state is in typed arrays: a million entries cost
 * about 130 bytes each while building.
 */
import { latin1, printable, writeLatin1 } from '../bytes.js';
import { LayerfsError } from '../error.js';
import { ENTRY_LOWER_LINK, ENTRY_WHITEOUT, Entries } from './entries.js';
import { type Draft, finishTree } from './finish.js';
import {
  IMPLIED,
  INODE,
  MAX_NAME,
  MAX_PATH,
  MAX_TARGET,
  NONE,
  OPAQUE,
  ROOT,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  isFileType,
} from './format.js';
import type { Xxh64 } from './hash.js';
import { Inodes } from './inodes.js';
import { isName } from './names.js';
import { BytePool } from './pool.js';
import { type Xattr, encodeXattrs } from './xattr.js';

/** What an inode carries besides its content. */
export interface InodeAttributes {
  /** Type and permissions, as in `st_mode`. */
  mode: number;
  uid: number;
  gid: number;
  /** Whole seconds, may be negative. */
  mtimeSec: number;
  /** 0 … 999,999,999. */
  mtimeNsec?: number;
  /** Linux's 32-bit `dev_t`: `(minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)`. Devices only. */
  rdev?: number;
  xattrs?: readonly Xattr[];
}

/**
 * A tree under construction. Numbers it hands out (inodes, objects) are its own; {@link TreeBuilder.finish} renumbers.
 * Every method throws LayerfsError invalid-argument for what no filesystem could hold.
 */
export class TreeBuilder {
  readonly #draft: Draft = {
    inodes: new Inodes(),
    entries: new Entries(),
    strings: new BytePool(),
    xattrSets: new BytePool(),
    objects: new BytePool(8),
  };
  readonly #scratch = new Uint8Array(MAX_PATH);
  #finished = false;

  /** The root exists from the start: an implied folder, 0755, owner 0:0. */
  constructor() {
    this.addInode({ mode: S_IFDIR | 0o755, uid: 0, gid: 0, mtimeSec: 0 });
    this.#draft.inodes.set(ROOT, INODE.parent, ROOT);
    this.setImplied(ROOT, true);
  }

  get inodeCount(): number {
    return this.#draft.inodes.count;
  }

  get objectCount(): number {
    return this.#draft.objects.count;
  }

  /** A new inode without a name. A regular file is empty, a symbolic link needs {@link setSymlink}. */
  addInode(attributes: InodeAttributes): number {
    if (!isFileType(attributes.mode)) throw invalid(`mode ${attributes.mode.toString(8)} has no file type`);
    // Checked before the record exists, so that a refused inode leaves nothing behind.
    const xattrs = this.#check(attributes);
    const ino = this.#draft.inodes.add();
    if ((attributes.mode & S_IFMT) === S_IFREG) this.#draft.inodes.set(ino, INODE.ref, NONE);
    this.#write(ino, attributes, xattrs);
    return ino;
  }

  /**
   * New attributes for an inode of the same type; its children, content and opaque mark stay, an implied folder
   * becomes an explicit one.
   */
  setAttributes(ino: number, attributes: InodeAttributes): void {
    if (((attributes.mode ^ this.mode(ino)) & S_IFMT) !== 0) throw invalid(`inode ${ino}: the file type cannot change`);
    this.#write(ino, attributes, this.#check(attributes));
    if (this.isDirectory(ino)) this.setImplied(ino, false);
  }

  /** The object with this sha256 (32 bytes); the same bytes give the same number. */
  addObject(sha256: Uint8Array): number {
    if (sha256.length !== 32) throw invalid(`a sha256 has 32 bytes, not ${sha256.length}`);
    return this.#draft.objects.intern(sha256, 32);
  }

  /** Content of a regular file; `size` is at least 1: an empty file has no object. */
  setContent(ino: number, object: number, size: number): void {
    if ((this.mode(ino) & S_IFMT) !== S_IFREG) throw invalid(`inode ${ino} is no regular file`);
    if (!Number.isSafeInteger(size) || size < 1) throw invalid(`inode ${ino}: size ${size}`);
    if (object < 0 || object >= this.objectCount) throw invalid(`no object ${object}`);
    const { inodes } = this.#draft;
    inodes.set(ino, INODE.ref, object);
    inodes.set(ino, INODE.sizeLow, size % 0x1_0000_0000);
    inodes.set(ino, INODE.sizeHigh, Math.floor(size / 0x1_0000_0000));
  }

  /** Target of a symbolic link: 1 to 4095 bytes without NUL. */
  setSymlink(ino: number, target: string): void {
    if ((this.mode(ino) & S_IFMT) !== S_IFLNK) throw invalid(`inode ${ino} is no symbolic link`);
    if (target.length < 1 || target.length > MAX_TARGET || target.includes('\0')) {
      throw invalid(`symbolic link target of ${target.length} bytes: ${printable(target.slice(0, 80))}`);
    }
    const { inodes } = this.#draft;
    inodes.set(ino, INODE.ref, this.#intern(target));
    inodes.set(ino, INODE.refLength, target.length);
    inodes.set(ino, INODE.sizeLow, target.length);
  }

  /**
   * Gives an inode a name. Another entry of that name is replaced: its inode loses the name, a folder goes with all
   * that is in it. A folder can have one name only.
   */
  link(parent: number, name: string, ino: number): void {
    const { inodes } = this.#draft;
    const directory = this.isDirectory(ino);
    if (directory && inodes.get(ino, INODE.parent) !== 0) throw invalid(`folder ${ino} has a name already`);
    if (!directory && (this.mode(ino) & S_IFMT) === S_IFLNK && inodes.get(ino, INODE.refLength) === 0) {
      throw invalid(`symbolic link ${ino} has no target`);
    }
    const { entry, flags } = this.#entry(parent, name);
    if (directory) inodes.set(ino, INODE.parent, parent);
    this.#draft.entries.set(entry, ino, flags & ENTRY_WHITEOUT);
  }

  /** Takes a name away (not a whiteout of it); says whether there was one. */
  unlink(parent: number, name: string): boolean {
    const entry = this.#find(parent, name);
    if (entry === 0 || this.#draft.entries.inode(entry) === 0) return false;
    this.#draft.entries.set(entry, 0, this.#draft.entries.flags(entry) & ENTRY_WHITEOUT);
    return true;
  }

  /** The inode of a name, or 0 when there is none or it is a lower link. */
  find(parent: number, name: string): number {
    const entry = this.#find(parent, name);
    if (entry === 0 || (this.#draft.entries.flags(entry) & ENTRY_LOWER_LINK) !== 0) return 0;
    return this.#draft.entries.inode(entry);
  }

  mode(ino: number): number {
    this.#known(ino);
    return this.#draft.inodes.get(ino, INODE.mode);
  }

  isDirectory(ino: number): boolean {
    return (this.mode(ino) & S_IFMT) === S_IFDIR;
  }

  /**
   * Hides a name of lower layers. In whatever order the two come, an entry of that name in this layer stays; if it is
   * a folder, it becomes opaque.
   */
  whiteout(parent: number, name: string): void {
    const { entry, flags } = this.#entry(parent, name);
    this.#draft.entries.set(entry, this.#draft.entries.inode(entry), flags | ENTRY_WHITEOUT);
  }

  /** Hides all that lower layers have in this folder. */
  setOpaque(ino: number): void {
    this.#flag(ino, OPAQUE, true);
  }

  /** Marks a folder that exists only because something lies in it: a merge takes a lower folder's attributes. */
  setImplied(ino: number, implied: boolean): void {
    this.#flag(ino, IMPLIED, implied);
  }

  /**
   * A hardlink whose target (`usr/bin/perl`: from the root, no leading slash) is not in this layer. The merge
   * resolves it. Another entry of that name is replaced.
   */
  lowerLink(parent: number, name: string, target: string): void {
    if (target.length > MAX_PATH || target.split('/').some((part) => !isName(part))) {
      throw invalid(`invalid hardlink target ${printable(target.slice(0, 300))}`);
    }
    const { entry, flags } = this.#entry(parent, name);
    this.#draft.entries.set(entry, this.#intern(target) + 1, (flags & ENTRY_WHITEOUT) | ENTRY_LOWER_LINK);
  }

  /** The target of a lower link, `undefined` if the name is none. */
  findLowerLink(parent: number, name: string): string | undefined {
    const { entries, strings } = this.#draft;
    const entry = this.#find(parent, name);
    if (entry === 0 || (entries.flags(entry) & ENTRY_LOWER_LINK) === 0) return undefined;
    return latin1(strings.view(entries.inode(entry) - 1));
  }

  /**
   * The finished file; the builder is used up. `layers` are the 32-byte diffIDs (one, for a layer's own tree).
   * @throws LayerfsError failed-precondition if called twice, resource-exhausted over 4 GiB.
   */
  finish(options: { layers: readonly Uint8Array[]; hash: Xxh64 }): Uint8Array {
    if (this.#finished) throw new LayerfsError('failed-precondition', 'this tree is finished');
    this.#finished = true;
    return finishTree(this.#draft, options.layers, options.hash);
  }

  #known(ino: number): void {
    if (!(ino >= 1 && ino <= this.#draft.inodes.count)) throw invalid(`no inode ${ino}`);
  }

  #flag(ino: number, flag: number, on: boolean): void {
    if (!this.isDirectory(ino)) throw invalid(`inode ${ino} is no folder`);
    const flags = this.#draft.inodes.get(ino, INODE.layerFlags) >>> 16;
    this.#draft.inodes.set(ino, INODE.layerFlags, (on ? flags | flag : flags & ~flag) << 16);
  }

  /** Pool number of the xattr set (NONE for an empty one) of attributes that are all in range. */
  #check(attributes: InodeAttributes): number {
    const { uid, gid, mtimeSec, mtimeNsec = 0, rdev = 0, xattrs } = attributes;
    checkWord('uid', uid);
    checkWord('gid', gid);
    checkWord('rdev', rdev);
    if (!Number.isSafeInteger(mtimeSec)) throw invalid(`mtime ${mtimeSec}`);
    if (!(Number.isInteger(mtimeNsec) && mtimeNsec >= 0 && mtimeNsec <= 999_999_999)) {
      throw invalid(`mtime nanoseconds ${mtimeNsec}`);
    }
    if (xattrs === undefined || xattrs.length === 0) return NONE;
    const set = encodeXattrs(xattrs);
    return this.#draft.xattrSets.intern(set, set.length);
  }

  #write(ino: number, attributes: InodeAttributes, xattrs: number): void {
    const { inodes } = this.#draft;
    // Safe integers only get here; the halves are two's complement once they are stored as unsigned words.
    const high = Math.floor(attributes.mtimeSec / 0x1_0000_0000);
    inodes.set(ino, INODE.mode, attributes.mode & 0o177777);
    inodes.set(ino, INODE.uid, attributes.uid);
    inodes.set(ino, INODE.gid, attributes.gid);
    inodes.set(ino, INODE.mtimeLow, attributes.mtimeSec - high * 0x1_0000_0000);
    inodes.set(ino, INODE.mtimeHigh, high);
    inodes.set(ino, INODE.mtimeNsec, attributes.mtimeNsec ?? 0);
    inodes.set(ino, INODE.rdev, attributes.rdev ?? 0);
    inodes.set(ino, INODE.xattrs, xattrs);
  }

  #find(parent: number, name: string): number {
    this.#known(parent);
    if (name.length > MAX_NAME) return 0;
    const length = writeLatin1(name, this.#scratch, 0);
    const id = this.#draft.strings.find(this.#scratch, length);
    return id < 0 ? 0 : this.#draft.entries.find(parent, id);
  }

  /** The entry of a name, made if there is none, and its flags. */
  #entry(parent: number, name: string): { entry: number; flags: number } {
    if (!this.isDirectory(parent)) throw invalid(`inode ${parent} is no folder`);
    if (!isName(name)) throw invalid(`invalid name "${printable(name.slice(0, 300))}"`);
    const { entries, inodes } = this.#draft;
    const id = this.#intern(name);
    let entry = entries.find(parent, id);
    if (entry === 0) {
      entry = entries.add(parent, id, inodes.get(parent, INODE.ref));
      inodes.set(parent, INODE.ref, entry);
    }
    return { entry, flags: entries.flags(entry) };
  }

  #intern(text: string): number {
    return this.#draft.strings.intern(this.#scratch, writeLatin1(text, this.#scratch, 0));
  }
}

function checkWord(field: string, value: number): void {
  if (!(Number.isInteger(value) && value >= 0 && value <= 0xffffffff)) throw invalid(`${field} ${value}`);
}

function invalid(message: string): LayerfsError {
  return new LayerfsError('invalid-argument', message);
}
