/**
 * What one tree (or a part of it) has that another has not: the changes between two images, and, in an upper folder,
 * what a renamed lower folder shows at its new place.
 */
import { MAX_NAME, ROOT, S_IFMT, S_IFREG } from '../tree/format.js';
import type { Tree } from '../tree/tree.js';
import { sameAttributes, treeAttributes, type Attributes } from './attributes.js';
import type { LayerEntry } from './entry.js';
import { WHITEOUT_PREFIX } from './format.js';
import type { MovedLink } from './moved-links.js';
import { joinPath, shownXattrs } from './upper.js';

/** How two trees are compared. */
export interface TreeEntriesOptions {
  /** Called for each folder of the tree that is looked into. */
  readonly onFolder?: (ino: number, path: string) => void;
  /** Also what is equal is given where it is one of several names: whether those stay together cannot be seen here. */
  readonly allLinks?: boolean;
  /** See {@link Deleted.unspeakable}. */
  readonly forLayer?: boolean;
}

/** The longest name that a whiteout can hide: its own name is longer. */
const MAX_HIDDEN = MAX_NAME - WHITEOUT_PREFIX.length;

/** What is missing from a folder. */
export interface Deleted {
  readonly names: readonly string[];
  /** Nothing is left: one mark can say so. */
  readonly all: boolean;
  /**
   * A name is too long for a whiteout. In a layer the folder then has to be given anew: a mark that hides all that it had, and
   * what is still in it.
   */
  readonly unspeakable: boolean;
}

/** The inode of a name, 0 when there is none, or no folder. */
export function childOf(tree: Tree, folder: number, name: string): number {
  if (folder === 0) return 0;
  const dirent = tree.lookup(folder, name);
  return dirent < 0 ? 0 : tree.direntInode(dirent);
}

/** A folder itself; 0 for anything else. */
export function asFolder(tree: Tree, ino: number): number {
  return ino !== 0 && tree.isDirectory(ino) ? ino : 0;
}

/** Names in a folder of a tree, sorted; none of 0. */
export function* namesIn(tree: Tree, folder: number): Generator<[name: string, ino: number]> {
  if (folder === 0) return;
  const first = tree.firstDirent(folder);
  const end = first + tree.childCount(folder);
  for (let dirent = first; dirent < end; dirent++) {
    const ino = tree.direntInode(dirent);
    if (ino !== 0) yield [tree.direntName(dirent), ino];
  }
}

/** What is missing from a folder. @param kept whether a name of the base is a name of the folder, too */
export function deletedNames(base: Tree, folder: number, kept: (name: string) => boolean): Deleted {
  const names = [...namesIn(base, folder)].map(([name]) => name).filter((name) => !kept(name));
  // A single whiteout is as short.
  return { ...namedDeleted(names), all: names.length > 1 && names.length === base.childCount(folder) };
}

/** {@link Deleted} of known names, beside which there are others. */
export function namedDeleted(names: readonly string[]): Deleted {
  return { names, all: false, unspeakable: names.some((name) => name.length > MAX_HIDDEN) };
}

/** Compares a merged tree with another. */
export class TreeEntries {
  readonly #tree: Tree;
  readonly #base: Tree;
  readonly #options: TreeEntriesOptions;
  /** Of inodes with several names: the path that was given first. */
  readonly #links = new Map<number, MovedLink>();

  /** @param base the tree to compare with; it may be the same one, of which other parts are compared then */
  constructor(tree: Tree, base: Tree, options: TreeEntriesOptions = {}) {
    this.#tree = tree;
    this.#base = base;
    this.#options = options;
  }

  /** Everything, from the roots on. */
  all(): Generator<LayerEntry, void> {
    return this.child('', ROOT, ROOT);
  }

  /** Of the inodes with several names: what was given so far. */
  get links(): ReadonlyMap<number, MovedLink> {
    return this.#links;
  }

  /** What is at a path: `ino`, where the base has `baseIno` (0: nothing). */
  *child(path: string, ino: number, baseIno: number): Generator<LayerEntry, void> {
    if (ino === baseIno && this.#tree === this.#base) return;
    if (!this.#tree.isDirectory(ino)) {
      const entry = this.#file(path, ino, baseIno);
      if (entry !== undefined) yield entry;
      return;
    }
    this.#options.onFolder?.(ino, path);
    const attributes = treeAttributes(this.#tree, ino, shownXattrs);
    yield {
      kind: 'entry',
      path,
      change: this.#change(attributes, baseIno),
      attributes,
      content: undefined,
      link: undefined,
    };
    yield* this.#folder(path, ino, asFolder(this.#base, baseIno));
  }

  *#folder(path: string, ino: number, base: number): Generator<LayerEntry, void> {
    const children = new Map<string, number>(namesIn(this.#tree, ino));
    const deleted = deletedNames(this.#base, base, (name) => children.has(name));
    const anew = this.#options.forLayer === true && deleted.unspeakable;
    const covered = deleted.all || anew;
    if (covered) yield { kind: 'opaque', path };
    for (const name of deleted.names) children.set(name, 0);
    const names = deleted.names.length === 0 ? [...children.keys()] : [...children.keys()].toSorted();
    for (const name of names) {
      const child = children.get(name) ?? 0;
      if (child === 0) yield { kind: 'deleted', path: joinPath(path, name), covered };
      else yield* this.child(joinPath(path, name), child, anew ? 0 : childOf(this.#base, base, name));
    }
  }

  #file(path: string, ino: number, baseIno: number): LayerEntry | undefined {
    const tree = this.#tree;
    const attributes = treeAttributes(tree, ino, shownXattrs);
    const change = this.#change(attributes, baseIno);
    const hex = tree.objectDigest(ino);
    const linked = tree.nlink(ino) > 1;
    const equal = change === undefined && hex === this.#base.objectDigest(baseIno);
    if (equal && !(this.#options.allLinks === true && (linked || this.#base.nlink(baseIno) > 1))) return undefined;
    const known = linked ? this.#links.get(ino) : undefined;
    if (known !== undefined) known.count++;
    else if (linked) this.#links.set(ino, { first: path, count: 1 });
    const isFile = (attributes.mode & S_IFMT) === S_IFREG;
    return {
      kind: 'entry',
      path,
      change: change ?? (equal ? undefined : 'changed'),
      attributes,
      content: isFile && hex !== undefined ? { kind: 'object', hex } : undefined,
      link: known?.first,
    };
  }

  #change(attributes: Attributes, baseIno: number): 'added' | 'changed' | undefined {
    if (baseIno === 0) return 'added';
    return sameAttributes(attributes, treeAttributes(this.#base, baseIno, shownXattrs)) ? undefined : 'changed';
  }
}
