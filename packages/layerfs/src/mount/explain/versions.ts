import { LayerfsError } from '../../core/error.js';
import { printable } from '../../core/bytes.js';
import type { Tree } from '../../core/tree/tree.js';

/** How a lower version of a path is hidden by the layers above it. */
export type Hiding =
  /** Another entry of the same name stands above it. */
  | 'replaced'
  /** A whiteout of the name, or of a folder on the way to it. */
  | 'whiteout'
  /** A folder on the way to it is opaque above. */
  | 'opaque'
  /** Both are folders: only the attributes are hidden, the children are joined. */
  | 'merged';

/** One layer's entry for a path. */
export interface Version {
  /** Index into the stack, 0 = base. */
  readonly layer: number;
  /** Inode number in that layer's own tree; 0 for a hard link to a path of a lower layer. */
  readonly ino: number;
  /** For a hard link to a path of a lower layer: that path. */
  readonly lowerLink?: string;
  /** Absent for what the merged tree shows. */
  readonly hidden?: Hiding;
}

/** Where a path stands in a stack of layers. */
export interface Versions {
  /** All entries of that path, topmost first; the first without `hidden` is what the merged tree shows. */
  readonly versions: readonly Version[];
  /** The topmost mark that hides everything below it although nothing of that layer is shown. */
  readonly removal?: { readonly layer: number; readonly how: 'whiteout' | 'opaque' | 'replaced' };
}

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;

/**
 * Collects what every layer of a stack says of one path.
 * @param trees layers' own trees, base first
 * @param path byte string without symbolic links on the way (see {@link resolveLinks}), no leading slash
 */
export function versionsOf(trees: readonly Tree[], path: string): Versions {
  const names = path.split('/').filter((name) => name !== '');
  const versions: Version[] = [];
  let removal: Versions['removal'];
  let cover: Hiding | undefined;
  let attributesTaken = false;
  for (let layer = trees.length - 1; layer >= 0; layer--) {
    const step = lookInto(trees[layer], names);
    if (step.found !== undefined) {
      const isFolder = step.found.isFolder;
      const shown =
        cover === undefined && !attributesTaken && !step.found.implied && (isFolder || versions.length === 0);
      // A folder joins folders below it, but hides anything else.
      const under = versions.length > 0 ? (isFolder ? 'merged' : 'replaced') : undefined;
      const hidden: Hiding | undefined = cover ?? (shown ? undefined : (under ?? 'merged'));
      versions.push({
        layer,
        ino: step.found.ino,
        ...(step.found.lowerLink === undefined ? {} : { lowerLink: step.found.lowerLink }),
        ...(hidden === undefined ? {} : { hidden }),
      });
      if (shown) attributesTaken = true;
      if (!isFolder) cover ??= 'replaced';
    }
    if (step.hides !== undefined) {
      if (cover === undefined && versions.length === 0) removal = { layer, how: step.hides };
      cover ??= step.hides;
    }
  }
  // Folders that exist only because entries came without their parents have nobody's attributes: the topmost shows.
  if (!attributesTaken && versions.length > 0 && versions[0]?.hidden === 'merged') {
    const { hidden: _, ...first } = versions[0];
    versions[0] = first;
  }
  return { versions, ...(removal === undefined ? {} : { removal }) };
}

interface Step {
  found?: { ino: number; isFolder: boolean; implied: boolean; lowerLink?: string };
  hides?: 'whiteout' | 'opaque' | 'replaced';
}

function lookInto(tree: Tree, names: readonly string[]): Step {
  let ino = 1;
  let hides: Step['hides'];
  for (const [depth, name] of names.entries()) {
    if (tree.isOpaque(ino)) hides = 'opaque';
    const dirent = tree.lookup(ino, name);
    if (dirent < 0) return hides === undefined ? {} : { hides };
    if (tree.isWhiteout(dirent)) return { hides: 'whiteout' };
    const last = depth === names.length - 1;
    if (tree.isLowerLink(dirent)) {
      if (!last) return { hides: 'replaced' };
      const lowerLink = tree.lowerLinkTarget(dirent);
      return { found: { ino: 0, isFolder: false, implied: false, lowerLink }, hides: 'replaced' };
    }
    ino = tree.direntInode(dirent);
    if (!last && (tree.mode(ino) & S_IFMT) !== S_IFDIR) return { hides: 'replaced' };
  }
  const isFolder = (tree.mode(ino) & S_IFMT) === S_IFDIR;
  // An opaque folder keeps its own lower versions from being joined.
  if (isFolder && tree.isOpaque(ino)) hides = 'opaque';
  return {
    found: { ino, isFolder, implied: tree.isImplied(ino) },
    ...(hides === undefined ? {} : { hides }),
  };
}

/**
 * Follows symbolic links on the way to a path (not at its end) inside a merged tree, as chroot would.
 * Stops following where the merged tree has nothing more: the rest is kept as it is.
 * @returns byte string without leading slash, `''` for the root
 * @throws LayerfsError invalid-argument after 40 links, as the kernel's ELOOP
 */
export function resolveLinks(merged: Tree, path: string): string {
  let rest = path.split('/');
  const done: string[] = [];
  let followed = 0;
  while (rest.length > 0) {
    const name = rest.shift() as string;
    if (name === '' || name === '.') continue;
    if (name === '..') {
      done.pop();
      continue;
    }
    done.push(name);
    if (rest.every((part) => part === '' || part === '.')) break;
    const ino = merged.resolve(done.join('/'));
    if (ino === 0 || (merged.mode(ino) & S_IFMT) !== S_IFLNK) continue;
    if (++followed > 40) {
      throw new LayerfsError('invalid-argument', `Too many symbolic links in ${printable(path)}`);
    }
    const target = merged.symlinkTarget(ino);
    done.pop();
    if (target.startsWith('/')) done.length = 0;
    rest = [...target.split('/'), ...rest];
  }
  return done.join('/');
}
