/** Attributes of a file, wherever it comes from, and when two are the same. */
import { S_IFBLK, S_IFCHR, S_IFLNK, S_IFMT } from '../tree/format.js';
import type { Tree } from '../tree/tree.js';
import type { Xattr } from '../tree/xattr.js';

/** What a file carries besides its content. */
export interface Attributes {
  /** Type and permissions, as in `st_mode`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content of a regular file; without meaning for others. */
  readonly size: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  /** Linux's 32-bit `dev_t`, as in the tree; devices only. */
  readonly rdev: number;
  /** Of a symbolic link: bytes as latin1. */
  readonly target: string | undefined;
  readonly xattrs: readonly Xattr[];
}

/** The attributes of an inode of a tree. `shown` picks the extended attributes that count. */
export function treeAttributes(tree: Tree, ino: number, shown: (xattrs: readonly Xattr[]) => Xattr[]): Attributes {
  const mode = tree.mode(ino);
  return {
    mode,
    uid: tree.uid(ino),
    gid: tree.gid(ino),
    size: tree.size(ino),
    mtimeSec: tree.mtimeSec(ino),
    mtimeNsec: tree.mtimeNsec(ino),
    rdev: tree.rdev(ino),
    target: (mode & S_IFMT) === S_IFLNK ? tree.symlinkTarget(ino) : undefined,
    xattrs: tree.hasXattrs(ino) ? shown(tree.xattrs(ino)) : [],
  };
}

/** Whether two files have the same attributes; sizes and content are not looked at. */
export function sameAttributes(a: Attributes, b: Attributes): boolean {
  const type = a.mode & S_IFMT;
  return (
    a.mode === b.mode &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.mtimeSec === b.mtimeSec &&
    a.mtimeNsec === b.mtimeNsec &&
    a.target === b.target &&
    ((type !== S_IFCHR && type !== S_IFBLK) || a.rdev === b.rdev) &&
    sameXattrs(a.xattrs, b.xattrs)
  );
}

function sameXattrs(a: readonly Xattr[], b: readonly Xattr[]): boolean {
  return a.length === b.length && a.every(([name, value], i) => name === b[i][0] && sameBytes(value, b[i][1]));
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
