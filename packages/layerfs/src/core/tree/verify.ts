/**
 * Checks every record of a tree. The numbering that builders write (breadth-first by folder, dirents in the order of
 * their folders) is part of the format because it makes this one pass: each dirent either brings the next new inode
 * number or is a further name of a file seen before. That alone rules out cycles, folders with two parents,
 * overlapping folders and inodes without a name.
 */
import {
  DIRENT,
  DIRENT_WORDS,
  IMPLIED,
  INODE,
  INODE_WORDS,
  LOWER_LINK,
  MAX_PATH,
  MAX_TARGET,
  NONE,
  OPAQUE,
  ROOT,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  WHITEOUT,
  compareNames,
  direntType,
  isFileType,
  namePrefix,
} from './format.js';
import { isName, isNameAt } from './names.js';
import { corruptTree } from './sections.js';
import type { Tree } from './tree.js';
import { visitXattrs } from './xattr.js';

/** Trees found right: they do not change, so they are checked once. */
const verified = new WeakSet<Tree>();

/** @throws LayerfsError corrupt, naming section, field and offset of the first thing that is wrong. */
export function verifyStructure(tree: Tree): void {
  if (verified.has(tree)) return;
  const { inodes } = tree.sections;
  const links = new Uint32Array(tree.inodeCount + 1);
  let nextDirent = 0;
  let lastIno: number = ROOT;
  if (inodes[ROOT * INODE_WORDS + INODE.parent] !== ROOT) throw bad(ROOT, 'parent', INODE.parent);
  for (let ino = 1; ino <= tree.inodeCount; ino++) {
    // A number that no earlier folder brought has no name.
    if (ino > lastIno) throw bad(ino, 'name', INODE.mode);
    verifyInode(tree, ino);
    const at = ino * INODE_WORDS;
    if ((inodes[at + INODE.mode] & S_IFMT) !== S_IFDIR) continue;
    if (inodes[at + INODE.ref] !== nextDirent) throw bad(ino, 'first dirent', INODE.ref);
    const end = nextDirent + tree.childCount(ino);
    links[ino] += 2;
    for (let dirent = nextDirent; dirent < end; dirent++) {
      verifyDirent(tree, dirent, dirent === nextDirent);
      const child = tree.direntInode(dirent);
      if (child === 0) continue;
      if (child > lastIno + 1) throw badDirent(dirent, 'inode', DIRENT.inode);
      const childAt = child * INODE_WORDS;
      if (tree.direntType(dirent) !== direntType(inodes[childAt + INODE.mode])) {
        throw badDirent(dirent, 'type', DIRENT.lengthTypeFlags);
      }
      const isNew = child === lastIno + 1;
      if (isNew) lastIno = child;
      if ((inodes[childAt + INODE.mode] & S_IFMT) === S_IFDIR) {
        if (!isNew) throw badDirent(dirent, 'second name of a folder', DIRENT.inode);
        if (inodes[childAt + INODE.parent] !== ino) throw bad(child, 'parent', INODE.parent);
        links[ino]++;
      } else links[child]++;
    }
    nextDirent = end;
  }
  if (nextDirent !== tree.direntCount) throw badDirent(nextDirent, 'folder', 0);
  for (let ino = 1; ino <= tree.inodeCount; ino++) {
    if (links[ino] !== inodes[ino * INODE_WORDS + INODE.nlink]) throw bad(ino, 'nlink', INODE.nlink);
  }
  verified.add(tree);
}

function verifyInode(tree: Tree, ino: number): void {
  const { inodes, xattrs } = tree.sections;
  const at = ino * INODE_WORDS;
  const mode = inodes[at + INODE.mode];
  const type = mode & S_IFMT;
  if (!isFileType(mode) || mode > 0xffff) throw bad(ino, 'mode', INODE.mode);
  if (inodes[at + INODE.mtimeNsec] > 999_999_999) throw bad(ino, 'mtime nanoseconds', INODE.mtimeNsec);
  tree.mtimeSec(ino);
  if (tree.layer(ino) >= Math.max(1, tree.layerCount)) throw bad(ino, 'layer', INODE.layerFlags);
  const flags = inodes[at + INODE.layerFlags] >>> 16;
  if ((type === S_IFDIR ? flags & ~(OPAQUE | IMPLIED) : flags) !== 0) throw bad(ino, 'flags', INODE.layerFlags);
  const set = inodes[at + INODE.xattrs];
  if (set !== NONE) visitXattrs(xattrs, set, () => false);
  const size = tree.size(ino);
  if (type === S_IFREG) {
    if (tree.objectIndex(ino) < 0 !== (size === 0)) throw bad(ino, 'size', INODE.sizeLow);
  } else if (type === S_IFLNK) {
    const { length } = tree.symlinkBytes(ino);
    if (length === 0 || length > MAX_TARGET || length !== size) throw bad(ino, 'target length', INODE.refLength);
  } else if (size !== 0) throw bad(ino, 'size', INODE.sizeLow);
}

/** Name, order and flags of a dirent. */
function verifyDirent(tree: Tree, dirent: number, first: boolean): void {
  const { dirents, names } = tree.sections;
  const at = dirent * DIRENT_WORDS;
  const start = tree.direntNameOffset(dirent);
  const length = tree.direntNameLength(dirent);
  if (!isNameAt(names, start, length)) throw badDirent(dirent, 'name', DIRENT.nameOffset);
  if (dirents[at + DIRENT.prefix] !== namePrefix(names, start, length))
    throw badDirent(dirent, 'prefix', DIRENT.prefix);
  if (!first) {
    const before = at - DIRENT_WORDS;
    const order =
      dirents[at + DIRENT.prefix] - dirents[before + DIRENT.prefix] ||
      compareNames(
        names,
        start,
        length,
        names,
        dirents[before + DIRENT.nameOffset],
        dirents[before + DIRENT.lengthTypeFlags] & 0xffff,
      );
    if (order <= 0) throw badDirent(dirent, 'order of names', DIRENT.nameOffset);
  }
  const flags = dirents[at + DIRENT.lengthTypeFlags] >>> 24;
  if (flags !== 0) {
    const type = tree.direntType(dirent);
    if ((flags !== WHITEOUT && flags !== LOWER_LINK) || type !== 0)
      throw badDirent(dirent, 'flags', DIRENT.lengthTypeFlags);
    if (flags === WHITEOUT) {
      if (dirents[at + DIRENT.inode] !== 0) throw badDirent(dirent, 'inode', DIRENT.inode);
      return;
    }
    const target = tree.lowerLinkTarget(dirent);
    if (target.length > MAX_PATH || !target.split('/').every(isName)) throw badDirent(dirent, 'link', DIRENT.inode);
  }
}

function bad(ino: number, field: string, word: number): Error {
  return corruptTree('inodes', field, (ino * INODE_WORDS + word) * 4, `wrong (inode ${ino})`);
}

function badDirent(dirent: number, field: string, word: number): Error {
  return corruptTree('dirents', field, (dirent * DIRENT_WORDS + word) * 4, `wrong (dirent ${dirent})`);
}
