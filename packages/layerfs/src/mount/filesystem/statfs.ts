import type { Statfs } from '@layerfs/fuse';
import { S_IFMT, S_IFREG } from '../../core/tree/format.js';
import type { Tree } from '../../core/tree/tree.js';

const BLOCK = 4096;

/**
 * Figures for statfs: as large as the tree's files, and full, as other read-only image filesystems (EROFS, squashfs)
 * say. A look at every inode, so worth keeping.
 */
export function treeStatfs(tree: Tree): Statfs {
  let blocks = 0;
  for (let ino = 1; ino <= tree.inodeCount; ino++) {
    const isFile = (tree.mode(ino) & S_IFMT) === S_IFREG;
    blocks += isFile ? Math.ceil(tree.size(ino) / BLOCK) : 1;
  }
  return { bsize: BLOCK, blocks, bfree: 0, bavail: 0, files: tree.inodeCount, ffree: 0, namelen: 255 };
}
