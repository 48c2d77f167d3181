/**
 * Applies the entries of a layer's tar to a tree, by the rules of the OCI image spec (layer.md) and of what
 * containerd and umoci do where it is silent.
 */
import { printable } from '../bytes.js';
import { LayerfsError } from '../error.js';
import type { InodeAttributes, TreeBuilder } from '../tree/builder.js';
import { whiteoutOf } from '../tree/whiteout.js';
import type { TarEntry } from './entry.js';
import { splitPath } from './path.js';

const ROOT = 1;
const FILE_TYPE: Readonly<Record<Exclude<TarEntry['type'], 'hardlink'>, number>> = {
  file: 0o100000,
  symlink: 0o120000,
  character: 0o020000,
  block: 0o060000,
  folder: 0o040000,
  fifo: 0o010000,
};

/** The kernel's 32-bit device number, as FUSE and the tree have it: 12 bits of major, 20 of minor. */
function deviceNumber(entry: TarEntry): number {
  const { devmajor: major, devminor: minor } = entry;
  if (major > 0xfff || minor > 0xfffff) {
    throw new LayerfsError('invalid-argument', `entry ${printable(entry.path)}: device ${major}:${minor} out of range`);
  }
  return ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** Builds one layer's tree from tar entries in their order. */
export class LayerReader {
  readonly #tree: TreeBuilder;
  /** Entries of the tar. */
  entries = 0;

  constructor(tree: TreeBuilder) {
    this.#tree = tree;
  }

  /**
   * Applies one entry. Returns the inode that its content belongs to, 0 when there is none to set (no regular file,
   * or a whiteout).
   * @throws LayerfsError invalid-argument naming the entry: a path that leaves the root or leads through a link
   */
  add(entry: TarEntry): number {
    this.entries++;
    const names = splitPath(entry.path, 'entry');
    const name = names.pop();
    if (name === undefined) {
      if (entry.type !== 'folder') this.#refuse(entry, 'the root must be a folder');
      this.#tree.setAttributes(ROOT, attributes(entry));
      return 0;
    }
    // What lies in aufs's own folders (`.wh..wh.plnk`, `.wh..wh.orph`) is no part of the layer.
    if (names.some((folder) => folder.startsWith('.wh.') && whiteoutOf(folder)?.kind === 'ignored')) return 0;
    const parent = this.#parent(names, entry);
    const whiteout = whiteoutOf(name);
    if (whiteout !== undefined) {
      if (whiteout.kind === 'opaque') this.#tree.setOpaque(parent);
      else if (whiteout.kind === 'whiteout') this.#tree.whiteout(parent, whiteout.name);
      return 0;
    }
    if (entry.type === 'hardlink') {
      this.#hardlink(entry, parent, name);
      return 0;
    }
    const existing = this.#tree.find(parent, name);
    if (existing !== 0 && entry.type === 'folder' && this.#tree.isDirectory(existing)) {
      this.#tree.setAttributes(existing, attributes(entry));
      return 0;
    }
    const ino = this.#tree.addInode(attributes(entry));
    if (entry.type === 'symlink') {
      if (entry.linkname === '' || entry.linkname.length > 4095) this.#refuse(entry, 'a link target of bad length');
      this.#tree.setSymlink(ino, entry.linkname);
    }
    this.#tree.link(parent, name, ino);
    return entry.type === 'file' ? ino : 0;
  }

  #hardlink(entry: TarEntry, parent: number, name: string): void {
    const target = splitPath(entry.linkname, `hardlink target of entry ${printable(entry.path)}:`);
    if (target.length === 0) this.#refuse(entry, 'a hardlink to the root');
    const ino = this.#lookup(target);
    if (ino !== 0) {
      if (this.#tree.isDirectory(ino)) this.#refuse(entry, 'a hardlink to a folder');
      this.#tree.link(parent, name, ino);
      return;
    }
    // Of a lower layer, or (rarely) of a later entry of this one: the merge decides.
    this.#tree.lowerLink(parent, name, target.join('/'));
  }

  /** The inode at a path of this layer, not following links; 0 when there is none. */
  #lookup(names: readonly string[]): number {
    let ino = ROOT;
    for (const name of names) {
      if (!this.#tree.isDirectory(ino)) return 0;
      ino = this.#tree.find(ino, name);
      if (ino === 0) return 0;
    }
    return ino;
  }

  /** The folder an entry lies in; made when the tar does not mention it. */
  #parent(names: readonly string[], entry: TarEntry): number {
    let ino = ROOT;
    for (const name of names) {
      let next = this.#tree.find(ino, name);
      if (next === 0) {
        if (this.#tree.findLowerLink(ino, name) !== undefined) this.#refuse(entry, `${printable(name)} is no folder`);
        if (whiteoutOf(name) !== undefined) this.#refuse(entry, 'its parent has the name of a whiteout');
        next = this.#tree.addInode({ mode: 0o040755, uid: 0, gid: 0, mtimeSec: 0 });
        this.#tree.setImplied(next, true);
        this.#tree.link(ino, name, next);
      } else if (!this.#tree.isDirectory(next)) {
        const link = (this.#tree.mode(next) & 0o170000) === FILE_TYPE.symlink;
        this.#refuse(entry, `${printable(name)} on its path is ${link ? 'a symbolic link' : 'no folder'}`);
      }
      ino = next;
    }
    return ino;
  }

  #refuse(entry: TarEntry, why: string): never {
    throw new LayerfsError('invalid-argument', `entry ${printable(entry.path.slice(0, 200))}: ${why}`);
  }
}

function attributes(entry: TarEntry): InodeAttributes {
  if (entry.type === 'hardlink') throw new LayerfsError('internal', 'a hardlink has no inode of its own');
  return {
    mode: FILE_TYPE[entry.type] | entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    mtimeSec: entry.mtimeSec,
    mtimeNsec: entry.mtimeNsec,
    rdev: deviceNumber(entry),
    xattrs: entry.xattrs,
  };
}
