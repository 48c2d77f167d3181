/**
 * A stack of trees, numbered so that a merge can speak of any inode of any of them with one number: the tree's base
 * plus its own inode number.
 */
import { printable } from '../bytes.js';
import { LayerfsError } from '../error.js';
import { IMPLIED, OPAQUE, INODE, INODE_WORDS, ROOT, S_IFDIR, S_IFMT } from './format.js';
import type { Tree } from './tree.js';

/** One tree of a stack, and where its parts begin in the merged file. */
export interface Source {
  readonly tree: Tree;
  readonly inodes: Uint32Array;
  readonly dirents: Uint32Array;
  readonly names: Uint8Array;
  readonly inodeBase: number;
  readonly nameBase: number;
  readonly xattrBase: number;
  readonly objectBase: number;
  readonly layerBase: number;
}

/** What a name means to everything above it: a file, or the folders that merge (topmost first), or nothing. */
type Found = { readonly file: number } | { readonly folders: readonly number[] } | undefined;

export class Stack {
  /** Lowest first. */
  readonly sources: readonly Source[];
  /** Sums over all trees: where the next one's parts would begin. */
  readonly totals: { inodes: number; dirents: number; names: number; xattrs: number; objects: number; layers: number };

  constructor(trees: readonly Tree[]) {
    const totals = { inodes: 0, dirents: 0, names: 0, xattrs: 0, objects: 0, layers: 0 };
    this.sources = trees.map((tree) => {
      const { inodes, dirents, names, xattrs } = tree.sections;
      const source: Source = {
        tree,
        inodes,
        dirents,
        names,
        inodeBase: totals.inodes,
        nameBase: totals.names,
        xattrBase: totals.xattrs,
        objectBase: totals.objects,
        layerBase: totals.layers,
      };
      totals.inodes += tree.inodeCount;
      totals.dirents += tree.direntCount;
      totals.names += names.length;
      totals.xattrs += xattrs.length;
      totals.objects += tree.objectCount;
      totals.layers += tree.layerCount;
      return source;
    });
    this.totals = totals;
  }

  /** Index of the tree that a stack-wide inode number belongs to. */
  indexOf(number: number): number {
    let low = 0;
    let high = this.sources.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.sources[middle].inodeBase < number) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The roots of the lowest `count` trees that are seen, topmost first. */
  roots(count: number): number[] {
    const roots: number[] = [];
    for (let i = count - 1; i >= 0; i--) {
      const { inodeBase, inodes } = this.sources[i];
      roots.push(inodeBase + ROOT);
      if (isOpaque(inodes, ROOT)) break;
    }
    return roots;
  }

  /**
   * The file that a lower link of tree number `above` means: what its target's path shows of the trees below it, as
   * when the layer is unpacked onto them; if nothing, what it shows of the layer's own tree (a target that comes later
   * in the same tar). Symbolic links in the path are not followed.
   * @throws LayerfsError invalid-argument, naming link and layer, if there is no such file.
   */
  resolveLowerLink(above: number, folder: number, dirent: number): number {
    const { tree } = this.sources[above];
    const target = tree.lowerLinkTarget(dirent);
    const components = target.split('/');
    const last = components.pop()!;
    const look = (roots: readonly number[], resolve: boolean): Found => {
      let folders = roots;
      for (const name of components) {
        const found = this.#find(folders, name, false);
        folders = found !== undefined && 'folders' in found ? found.folders : [];
      }
      return this.#find(folders, last, resolve);
    };
    const found = look(this.roots(above), true) ?? look([this.sources[above].inodeBase + ROOT], false);
    if (found !== undefined && 'file' in found) return found.file;
    const within = tree.path(folder);
    const link = printable(`${within === '' ? '' : `${within}/`}${tree.direntName(dirent)}`);
    const why = found === undefined ? 'is in no layer up to this one' : 'is a folder';
    const layer = tree.layerCount === 0 ? `number ${above}` : tree.layerDigest(tree.layerCount - 1);
    throw new LayerfsError(
      'invalid-argument',
      `layer ${layer}: hardlink ${link} to ${printable(target)}, which ${why}`,
    );
  }

  /** What `name` is in merged folders. A lower link on the way is a file; which one matters only at the end. */
  #find(folders: readonly number[], name: string, resolve: boolean): Found {
    const found: number[] = [];
    for (const number of folders) {
      const index = this.indexOf(number);
      const { tree, inodeBase } = this.sources[index];
      const folder = number - inodeBase;
      const dirent = tree.lookup(folder, name);
      if (dirent < 0) continue;
      if (tree.isWhiteout(dirent)) break;
      const ino = tree.direntInode(dirent);
      if (ino === 0 || !tree.isDirectory(ino)) {
        if (found.length > 0) break;
        if (ino !== 0) return { file: inodeBase + ino };
        if (!resolve) return undefined;
        return { file: this.resolveLowerLink(index, folder, dirent) };
      }
      found.push(inodeBase + ino);
      if (tree.isOpaque(ino)) break;
    }
    return found.length > 0 ? { folders: found } : undefined;
  }
}

/** Whether a record is a folder. */
export function isFolder(inodes: Uint32Array, ino: number): boolean {
  return (inodes[ino * INODE_WORDS + INODE.mode] & S_IFMT) === S_IFDIR;
}

export function isOpaque(inodes: Uint32Array, ino: number): boolean {
  return (inodes[ino * INODE_WORDS + INODE.layerFlags] & (OPAQUE << 16)) !== 0;
}

/** Whether a folder's attributes are only made up, as its layer has an entry inside it but none for it. */
export function isImplied(inodes: Uint32Array, ino: number): boolean {
  return (inodes[ino * INODE_WORDS + INODE.layerFlags] & (IMPLIED << 16)) !== 0;
}
