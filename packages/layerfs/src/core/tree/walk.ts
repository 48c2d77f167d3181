/** Goes through a tree folder by folder. */
import { ROOT } from './format.js';
import { corruptTree } from './sections.js';
import type { Tree } from './tree.js';

/** One name of a tree. */
export interface TreeEntry {
  /** From the root, without a leading slash (byte string). */
  readonly path: string;
  readonly dirent: number;
  /** 0 for a whiteout or a lower link. */
  readonly ino: number;
}

/** @see Tree.walk */
export function* walkTree(tree: Tree): Generator<TreeEntry, void> {
  /** The folders from the root down to where we are: what is left of each. */
  const open = [
    {
      prefix: '',
      ino: ROOT as number,
      next: tree.firstDirent(ROOT),
      end: tree.firstDirent(ROOT) + tree.childCount(ROOT),
    },
  ];
  let seen = 0;
  for (let folder = open.at(-1); folder !== undefined; folder = open.at(-1)) {
    if (folder.next >= folder.end) {
      open.pop();
      continue;
    }
    // Every dirent belongs to one folder: more of them than there are means folders that share some.
    if (++seen > tree.direntCount) throw corruptTree('inodes', 'dirents', 0, 'folders overlap');
    const dirent = folder.next++;
    const ino = tree.direntInode(dirent);
    const path = folder.prefix + tree.direntName(dirent);
    yield { path, dirent, ino };
    if (ino === 0 || !tree.isDirectory(ino)) continue;
    if (tree.parent(ino) !== folder.ino || ino <= folder.ino) {
      throw corruptTree('dirents', 'inode', dirent * 16 + 8, `folder ${ino} is not of folder ${folder.ino}`);
    }
    const first = tree.firstDirent(ino);
    open.push({ prefix: `${path}/`, ino, next: first, end: first + tree.childCount(ino) });
  }
}
