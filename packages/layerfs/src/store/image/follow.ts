import { printable } from '../../core/bytes.js';
import { LayerfsError } from '../../core/error.js';
import { ROOT, S_IFDIR, S_IFLNK, S_IFMT } from '../../core/tree/format.js';
import type { Tree } from '../../core/tree/tree.js';

const MAX_LINKS = 40;

/**
 * The inode that a path leads to, with the image's root as `/`: `..` and links stay inside, as in a chroot.
 * @param path a byte string
 * @throws LayerfsError not-found naming the path, invalid-argument for a loop of links
 */
export function followPath(tree: Tree, path: string): number {
  const left = path.split('/').toReversed();
  const stack = [ROOT];
  let links = 0;
  for (let name = left.pop(); name !== undefined; name = left.pop()) {
    const folder = stack[stack.length - 1];
    if (name === '' || name === '.') continue;
    if (name === '..') {
      if (stack.length > 1) stack.pop();
      continue;
    }
    const dirent = (tree.mode(folder) & S_IFMT) === S_IFDIR ? tree.lookup(folder, name) : -1;
    if (dirent < 0) throw new LayerfsError('not-found', `no such file in the image: ${printable(path)}`);
    const ino = tree.direntInode(dirent);
    if ((tree.mode(ino) & S_IFMT) !== S_IFLNK) {
      stack.push(ino);
      continue;
    }
    if (++links > MAX_LINKS) throw new LayerfsError('invalid-argument', `too many symbolic links: ${printable(path)}`);
    const target = tree.symlinkTarget(ino);
    if (target.startsWith('/')) stack.length = 1;
    left.push(...target.split('/').toReversed());
  }
  return stack[stack.length - 1];
}
