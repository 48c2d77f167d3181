/**
 * What an upper folder changes of the tree below it: the merged view, compared with that tree name by name. What the
 * upper holds is looked at; of the lower, only what lies beside it in the same folders, and what was moved.
 */
import { LayerfsError } from '../error.js';
import { ROOT, S_IFDIR, S_IFMT, S_IFREG } from '../tree/format.js';
import type { Tree } from '../tree/tree.js';
import { sameAttributes, treeAttributes, type Attributes } from './attributes.js';
import type { Content, LayerEntry } from './entry.js';
import { linkGroups, type LinkGroup } from './links.js';
import { stayingLinks } from './moved-links.js';
import { deletedIn, lowerContent, lowerFolder, type LowerPlace } from './lower-names.js';
import { TreeEntries, asFolder, childOf, namesIn } from './tree-entries.js';
import {
  corruptUpper,
  isMetacopy,
  joinPath,
  readUpper,
  shownAttributes,
  shownXattrs,
  type UpperFile,
  type UpperFolder,
} from './upper.js';

/** What to do besides giving entries. */
export interface UpperEntriesOptions {
  /** Told of each socket, which no layer can hold. */
  readonly onSocket?: (path: string) => void;
  /** The entries are for a layer, not for a list of changes. */
  readonly forLayer?: boolean;
}

/**
 * The differences of the merged view from the lower, depth first, names in byte order. Each entry's content is to be read
 * before the next entry is asked for.
 * @param lower the merged tree below
 * @param root the upper folder; it must not change meanwhile
 * @throws LayerfsError corrupt naming the path of what no union writes; whatever reading throws
 */
export function upperEntries(
  lower: Tree,
  root: UpperFolder,
  options: UpperEntriesOptions = {},
): Generator<LayerEntry, void> {
  return new UpperWalk(lower, root, options).entries();
}

/** A name in a folder of the merged view: of the upper, or of the lower, or gone. */
type Child = UpperFile | number | undefined;

class UpperWalk {
  readonly #lower: Tree;
  readonly #root: UpperFolder;
  readonly #options: UpperEntriesOptions;
  readonly #moved: TreeEntries;
  /** Lower folders that were seen merged or moved: each has one place. */
  readonly #placed: Uint8Array;
  #groups: Map<string, LinkGroup> | undefined;

  constructor(lower: Tree, root: UpperFolder, options: UpperEntriesOptions) {
    this.#lower = lower;
    this.#root = root;
    this.#options = options;
    this.#placed = new Uint8Array(lower.inodeCount + 1);
    this.#moved = new TreeEntries(lower, lower, {
      onFolder: (ino, path) => this.#place(ino, path),
      allLinks: true,
      forLayer: options.forLayer === true,
    });
  }

  *entries(): Generator<LayerEntry, void> {
    yield this.#folderEntry(this.#root.self, '', ROOT);
    yield* this.#folder(this.#root, '', ROOT, ROOT);
    yield* stayingLinks(this.#lower, this.#root, this.#moved.links);
  }

  /**
   * What is in a folder.
   * @param below the lower folder that it continues, 0: none
   * @param base what the lower has at this path, 0: no folder
   */
  *#folder(folder: UpperFolder, path: string, below: number, base: number): Generator<LayerEntry, void> {
    const lower = this.#lower;
    const content = readUpper(folder, path);
    const { entries, whiteouts, opaque, sockets } = content;
    for (const name of sockets) this.#options.onSocket?.(joinPath(path, name));
    const continues = opaque ? 0 : below;
    if (continues !== 0) this.#place(continues, path);
    const children = new Map<string, Child>(entries.map((file) => [file.name, file]));
    const addLower = (): void => {
      for (const [name, ino] of namesIn(lower, continues)) {
        if (!children.has(name) && !whiteouts.has(name)) children.set(name, ino);
      }
    };
    const deleted = deletedIn(lower, content, continues, base);
    const anew = this.#options.forLayer === true && deleted.unspeakable;
    if (continues !== base || anew) addLower();
    const covered = deleted.all || anew;
    if (covered) yield { kind: 'opaque', path };
    for (const name of deleted.names) children.set(name, undefined);
    for (const name of [...children.keys()].toSorted()) {
      const child = children.get(name);
      const at = joinPath(path, name);
      const here = anew ? 0 : childOf(lower, base, name);
      if (child === undefined) yield { kind: 'deleted', path: at, covered };
      else if (typeof child === 'number') yield* this.#moved.child(at, child, here);
      else yield* this.#upperChild(folder, child, at, { folder: continues, hidden: whiteouts.has(name) }, here);
    }
  }

  *#upperChild(
    folder: UpperFolder,
    file: UpperFile,
    path: string,
    place: LowerPlace,
    base: number,
  ): Generator<LayerEntry, void> {
    if ((file.mode & S_IFMT) !== S_IFDIR) {
      const entry = this.#file(folder, file, path, place, base);
      if (entry !== undefined) yield entry;
      return;
    }
    const child = folder.openFolder(file.name);
    try {
      yield this.#folderEntry(file, path, base);
      const below = lowerFolder(this.#lower, file, place, path);
      yield* this.#folder(child, path, below, asFolder(this.#lower, base));
    } finally {
      child.close();
    }
  }

  #folderEntry(file: UpperFile, path: string, base: number): LayerEntry {
    const attributes = shownAttributes(file, path);
    const change = this.#change(attributes, base);
    return { kind: 'entry', path, change, attributes, content: undefined, link: undefined };
  }

  #file(folder: UpperFolder, file: UpperFile, path: string, place: LowerPlace, base: number): LayerEntry | undefined {
    const attributes = shownAttributes(file, path);
    const change = this.#change(attributes, base);
    const group = file.nlink > 1 ? this.#group(file.key) : undefined;
    const content = this.#content(folder, file, path, place, group);
    const alone = group === undefined || group.names.length === 1;
    const sameNames = alone ? base !== 0 && this.#lower.nlink(base) === 1 : group.sameNames;
    const equal = change === undefined && this.#sameContent(attributes, content, base);
    if (equal && sameNames) return undefined;
    const link = group?.first;
    if (group !== undefined) group.first ??= path;
    return { kind: 'entry', path, change: change ?? (equal ? undefined : 'changed'), attributes, content, link };
  }

  #content(
    folder: UpperFolder,
    file: UpperFile,
    path: string,
    place: LowerPlace,
    group: LinkGroup | undefined,
  ): Content | undefined {
    if ((file.mode & S_IFMT) !== S_IFREG) return undefined;
    if (isMetacopy(file)) {
      const hex = this.#lower.objectDigest(group?.content || lowerContent(this.#lower, file, place, path));
      return hex === undefined ? undefined : { kind: 'object', hex };
    }
    return file.size === 0 ? undefined : { kind: 'upper', folder, name: file.name };
  }

  /** Of two files with the same attributes. */
  #sameContent(attributes: Attributes, content: Content | undefined, base: number): boolean {
    if ((attributes.mode & S_IFMT) !== S_IFREG) return true;
    if (attributes.size !== this.#lower.size(base)) return false;
    if (content === undefined) return true;
    const hex = content.kind === 'object' ? content.hex : content.folder.sha256(content.name);
    return hex === this.#lower.objectDigest(base);
  }

  #change(attributes: Attributes, base: number): 'added' | 'changed' | undefined {
    if (base === 0) return 'added';
    return sameAttributes(attributes, treeAttributes(this.#lower, base, shownXattrs)) ? undefined : 'changed';
  }

  #group(key: string): LinkGroup {
    // Only an upper that has such files is gone through twice.
    this.#groups ??= linkGroups(this.#lower, this.#root, this.#options.forLayer === true);
    const group = this.#groups.get(key);
    if (group === undefined) throw new LayerfsError('aborted', 'the upper folder changed while it was read');
    return group;
  }

  /** A lower folder shows at one place only; this also bounds what an upper can blow up to. */
  #place(ino: number, path: string): void {
    if (this.#placed[ino] !== 0) {
      throw corruptUpper(path, `a second place for the lower folder /${this.#lower.path(ino)}`);
    }
    this.#placed[ino] = 1;
  }
}
