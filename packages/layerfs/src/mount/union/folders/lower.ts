import { LRUCache } from 'lru-cache';
import type { Attr } from '@layerfs/fuse';
import { AT_FDCWD, ErrnoError, errno, statx, type Path } from '@layerfs/linux';
import { isOverlayXattr, WHITEOUT_PREFIX } from '../../../core/overlay/format.js';
import { linkedNames } from './links.js';
import { InoSpace, type Device } from './ino.js';
import { Layers, type Part } from './layers.js';
import { hasMarker, hasOpaqueMarker, isWhiteout, readMarks } from './marks.js';
import { indexOf, mergeListing, type Listing } from './merge.js';
import { Nodes } from './nodes.js';
import { bottomPart, findContent, findParts, type Place } from './walk.js';
import type { Lower, LowerName, LowerNode } from '../lower.js';

/** A stack of plain folders. */
export interface FoldersLowerOptions {
  /** Topmost first. */
  readonly folders: readonly Path[];
  /** The folder above the stack: its device takes part in inode numbers. */
  readonly upper?: Path | undefined;
  /** The owner to show for one on disk. */
  readonly showUid?: (uid: number) => number;
  readonly showGid?: (gid: number) => number;
  /** At most so many folders are kept open, besides the roots. */
  readonly keepOpen?: number | undefined;
  /** Listings are kept that have so many names in all. */
  readonly keepNames?: number | undefined;
}

const ROOT = 1;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const KEEP_NAMES = 400_000;
/** After so many system calls for single names a folder is listed, which answers for all names from then on. */
const LIST_AFTER = 64;
/** What is known of a node. */
const FLAG = { linked: 1, xattrsKnown: 2, xattrs: 4, metacopy: 8 } as const;

/** What is known of a merged folder once it was looked into. */
interface FolderState {
  readonly parts: readonly Part[];
  /** System calls made for single names in it. */
  calls: number;
  /** -1: not counted yet. */
  subfolders: number;
}

/**
 * A stack of plain folders, merged by the rules of kernel overlayfs while it is looked into; `.wh.` files of
 * fuse-overlayfs count as well. Opening costs nothing but the descriptors of the roots. What hides what is described
 * with {@link findParts} and {@link mergeListing}. The folders must not change while this is open.
 */
export class FoldersLower implements Lower {
  readonly inoLimit: number;
  readonly mayHaveXattrs = true;
  /** How inode numbers of these devices, the upper's included, are shown. */
  readonly inos: InoSpace;
  readonly #layers: Layers;
  /** Of the layers that are seen at all. */
  readonly #roots: readonly Part[];
  readonly #nodes = new Nodes();
  readonly #folders = new Map<LowerNode, FolderState>();
  readonly #listings: LRUCache<LowerNode, Listing>;
  #lastFolder: LowerNode = 0;
  #lastListing: Listing | undefined;
  readonly #showUid: (uid: number) => number;
  readonly #showGid: (gid: number) => number;
  /** Nodes with several names, by identity. */
  readonly #linked = new Map<number, LowerNode>();
  #allNames: Map<LowerNode, LowerName[]> | undefined;
  /** Whose stat `#layers.found` is; 0: nobody's. */
  #found: LowerNode = 0;

  /** @throws ErrnoError naming the folder that cannot be opened */
  constructor(options: FoldersLowerOptions) {
    this.#layers = new Layers(options.folders, options.keepOpen);
    try {
      this.#roots = this.#visibleRoots();
      this.inos = new InoSpace(this.#devices(options.upper));
      this.inoLimit = this.inos.limit;
      this.#nodes.addName(0, '', this.#nodes.add(this.#layers.found.mode, 0, 0, this.#foundIno()));
    } catch (error) {
      this.#layers.close();
      throw error;
    }
    this.#folders.set(ROOT, { parts: this.#roots, calls: 0, subfolders: -1 });
    this.#showUid = options.showUid ?? ((uid) => uid);
    this.#showGid = options.showGid ?? ((gid) => gid);
    const maxSize = options.keepNames ?? KEEP_NAMES;
    // A folder with more names than that is kept alone, or each of its names would list it again.
    this.#listings = new LRUCache({ maxSize, sizeCalculation: ({ names }) => Math.min(names.length + 1, maxSize) });
  }

  childCount(folder: LowerNode): number {
    return this.#listing(folder).names.length;
  }

  childName(folder: LowerNode, index: number): string {
    return this.#listing(folder).names[index];
  }

  childType(folder: LowerNode, index: number): number {
    return this.#listing(folder).types[index];
  }

  childNode(folder: LowerNode, index: number): LowerNode {
    const { names, parts } = this.#listing(folder);
    const known = this.#nodes.find(folder, names[index]);
    if (known !== 0) return known;
    const node = this.#look(folder, names[index], parts[index]);
    if (node === 0) throw new ErrnoError(errno.ESTALE, 'statx', Buffer.from(names[index], 'latin1'));
    return node;
  }

  lookup(folder: LowerNode, name: string): LowerNode {
    const known = this.#nodes.find(folder, name);
    if (known !== 0) return known;
    if (name.startsWith(WHITEOUT_PREFIX)) return 0;
    const state = this.#state(folder);
    const listing = state.calls > LIST_AFTER ? this.#listing(folder) : this.#listings.get(folder);
    if (listing !== undefined) {
      const index = indexOf(listing, name);
      return index < 0 ? 0 : this.#look(folder, name, listing.parts[index]);
    }
    const layers = this.#layers;
    this.#found = 0;
    for (const [index, part] of state.parts.entries()) {
      state.calls++;
      if (layers.stat(part, name)) return isWhiteout(layers, part, name) ? 0 : this.#node(folder, name, index);
      if (part.markers !== false) state.calls++;
      if (hasMarker(layers, part, name)) return 0;
    }
    return 0;
  }

  mode(node: LowerNode): number {
    return this.#nodes.mode(this.#checked(node));
  }

  ino(node: LowerNode): number {
    return this.#nodes.ino(this.#checked(node));
  }

  fill(node: LowerNode, attr: Attr): void {
    // First what makes system calls of its own.
    const type = this.mode(node) & S_IFMT;
    const nlink = type === S_IFDIR ? this.#nlink(node) : 0;
    const { found } = this.#layers;
    this.#stat(node);
    attr.ino = this.#nodes.ino(node);
    attr.mode = found.mode;
    attr.size = found.size;
    attr.blocks = found.blocks;
    attr.blksize = found.blksize;
    attr.nlink = type === S_IFDIR ? nlink : found.nlink;
    attr.uid = this.#showUid(found.uid);
    attr.gid = this.#showGid(found.gid);
    attr.rdev = (found.rdevMinor & 0xff) | (found.rdevMajor << 8) | ((found.rdevMinor & ~0xff) << 12);
    attr.atimeSec = found.atimeSec;
    attr.atimeNsec = found.atimeNsec;
    attr.mtimeSec = found.mtimeSec;
    attr.mtimeNsec = found.mtimeNsec;
    attr.ctimeSec = found.ctimeSec;
    attr.ctimeNsec = found.ctimeNsec;
    if (type === S_IFREG && attr.blocks * 512 < attr.size && this.#isMetacopy(node)) {
      attr.blocks = this.#contentBlocks(node);
    }
  }

  parent(folder: LowerNode): LowerNode {
    return folder === ROOT ? ROOT : this.#nodes.folder(this.#checked(folder));
  }

  names(node: LowerNode): readonly LowerName[] {
    if (node === ROOT) return [];
    if ((this.#nodes.flags(this.#checked(node)) & FLAG.linked) !== 0) {
      const all = this.#linkedNames().get(node);
      if (all !== undefined) return all;
    }
    return [{ folder: this.#nodes.folder(node), name: this.#nodes.name(node) }];
  }

  readlink(node: LowerNode): Uint8Array {
    const { folder, name } = this.#place(node);
    return this.#layers.readlink(folder, name);
  }

  xattrs(node: LowerNode): readonly (readonly [name: string, value: Uint8Array])[] {
    const pairs: [string, Uint8Array][] = [];
    if (!this.#hasXattrs(node)) return pairs;
    const { folder, name } = this.#place(node);
    for (const attribute of this.#layers.listXattrs(folder, name)) {
      if (isOverlayXattr(attribute)) continue;
      const value = this.#layers.xattr(folder, name, attribute);
      if (value !== undefined) pairs.push([attribute, value]);
    }
    return pairs;
  }

  xattr(node: LowerNode, name: string): Uint8Array | undefined {
    if (isOverlayXattr(name) || !this.#hasXattrs(node)) return undefined;
    const place = this.#place(node);
    return this.#layers.xattr(place.folder, place.name, name);
  }

  openContent(node: LowerNode): number {
    this.#stat(node);
    if (this.#layers.found.size === 0) return -1;
    const { folder, name } = this.#content(node);
    return this.#layers.open(folder, name);
  }

  nodeOf(ino: number): LowerNode {
    this.#linkedNames();
    return this.#linked.get(ino) ?? 0;
  }

  contentKey(node: LowerNode): number {
    this.#stat(node);
    const { found } = this.#layers;
    if (found.size === 0) return 0;
    if (this.#isMetacopy(node)) this.#statContent(node);
    return this.inos.identity(found.devMajor, found.devMinor, found.inoLow, found.inoHigh);
  }

  close(): void {
    this.#layers.close();
    this.#listings.clear();
  }

  /** Kernel overlayfs does not look at the root's marks; as fuse-overlayfs, we take an opaque one at its word. */
  #visibleRoots(): Part[] {
    const layers = this.#layers;
    const roots: Part[] = [];
    for (const root of layers.roots) {
      const { opaque, xwhiteouts } = readMarks(layers, root, '');
      roots.push({ ...root, xwhiteouts });
      if (opaque || hasOpaqueMarker(layers, root, '')) break;
    }
    return roots;
  }

  /** Leaves the topmost root's stat behind. */
  #devices(upper: Path | undefined): Device[] {
    const { found } = this.#layers;
    const devices: Device[] = [];
    for (const root of this.#layers.roots.toReversed()) {
      this.#layers.stat(root, '');
      devices.push({ major: found.devMajor, minor: found.devMinor });
    }
    if (upper !== undefined) {
      const { devMajor, devMinor } = statx(AT_FDCWD, upper);
      devices.push({ major: devMajor, minor: devMinor });
    }
    return devices;
  }

  #checked(node: LowerNode): LowerNode {
    if (!this.#nodes.has(node)) throw new ErrnoError(errno.ESTALE, 'node');
    return node;
  }

  #state(folder: LowerNode): FolderState {
    const known = this.#folders.get(folder);
    if (known !== undefined) return known;
    if ((this.mode(folder) & S_IFMT) !== S_IFDIR) throw new ErrnoError(errno.ENOTDIR, 'node');
    this.#found = 0;
    const nodes = this.#nodes;
    // The folder around was looked into, or this one would have no number.
    const { parts: stack } = this.#state(nodes.folder(folder));
    const [start, name] = [nodes.part(folder), nodes.name(folder)];
    const parts = this.#atBottom(folder)
      ? [bottomPart(this.#layers, stack[start], name)]
      : findParts(this.#layers, this.#roots, stack, start, name);
    if (parts.length === 0) throw new ErrnoError(errno.ESTALE, 'node');
    const state: FolderState = { parts, calls: 0, subfolders: -1 };
    this.#folders.set(folder, state);
    return state;
  }

  /** Whether a folder was found in the lowest layer, so that it consists of nothing else. */
  #atBottom(folder: LowerNode): boolean {
    const { parts } = this.#state(this.#nodes.folder(folder));
    return parts[this.#nodes.part(folder)].layer === this.#roots.length - 1;
  }

  #listing(folder: LowerNode): Listing {
    // Folders are gone through index by index.
    if (folder === this.#lastFolder && this.#lastListing !== undefined) return this.#lastListing;
    const listing = this.#listings.get(folder) ?? this.#list(folder);
    this.#lastFolder = folder;
    this.#lastListing = listing;
    return listing;
  }

  #list(folder: LowerNode): Listing {
    const state = this.#state(folder);
    this.#found = 0;
    const listing = mergeListing(this.#layers, state.parts);
    state.subfolders = listing.subfolders;
    this.#listings.set(folder, listing);
    return listing;
  }

  /** Where a node's own attributes lie. */
  #place(node: LowerNode): Place {
    if (node === ROOT) return { folder: this.#roots[0], name: '' };
    const nodes = this.#nodes;
    const { parts } = this.#state(nodes.folder(this.#checked(node)));
    return { folder: parts[nodes.part(node)], name: nodes.name(node) };
  }

  /** The node of a name that is known to be in a part of the folder; 0 when it is not. */
  #look(folder: LowerNode, name: string, part: number): LowerNode {
    this.#found = 0;
    return this.#layers.stat(this.#state(folder).parts[part], name) ? this.#node(folder, name, part) : 0;
  }

  /** The node of what was just found under a name: a new one, or that of another name of the same file. */
  #node(folder: LowerNode, name: string, part: number): LowerNode {
    const { found } = this.#layers;
    const linked = found.nlink > 1 && (found.mode & S_IFMT) !== S_IFDIR;
    const key = linked ? this.inos.identity(found.devMajor, found.devMinor, found.inoLow, found.inoHigh) : 0;
    let node = linked ? this.#linked.get(key) : undefined;
    if (node === undefined) {
      node = this.#nodes.add(found.mode, part, linked ? FLAG.linked : 0, this.#foundIno());
      if (linked) this.#linked.set(key, node);
    }
    this.#nodes.addName(folder, name, node);
    this.#found = node;
    return node;
  }

  #foundIno(): number {
    const { found } = this.#layers;
    return this.inos.shown(found.devMajor, found.devMinor, found.inoLow, found.inoHigh);
  }

  #linkedNames(): Map<LowerNode, LowerName[]> {
    return (this.#allNames ??= linkedNames(this, (folder, index) => this.#linkedChild(folder, index)));
  }

  /** The node of a child if it is a file with several names, without numbering all others. */
  #linkedChild(folder: LowerNode, index: number): LowerNode {
    const { names, parts } = this.#listing(folder);
    const known = this.#nodes.find(folder, names[index]);
    if (known !== 0) return (this.#nodes.flags(known) & FLAG.linked) === 0 ? 0 : known;
    this.#found = 0;
    if (!this.#layers.stat(this.#state(folder).parts[parts[index]], names[index])) return 0;
    return this.#layers.found.nlink > 1 ? this.#node(folder, names[index], parts[index]) : 0;
  }

  /** Lets `#layers.found` be a node's stat. */
  #stat(node: LowerNode): void {
    if (this.#found === node) return;
    const { folder, name } = this.#place(node);
    this.#found = 0;
    if (!this.#layers.stat(folder, name)) throw new ErrnoError(errno.ESTALE, 'statx', Buffer.from(name, 'latin1'));
    this.#found = node;
  }

  #nlink(folder: LowerNode): number {
    const known = this.#folders.get(folder);
    if (known === undefined ? this.#atBottom(folder) : known.subfolders < 0 && known.parts.length === 1) {
      this.#stat(folder);
      // Some filesystems count names of folders, some do not and say 1.
      if (this.#layers.found.nlink >= 2) return this.#layers.found.nlink;
    }
    const state = known ?? this.#state(folder);
    if (state.subfolders < 0) this.#listing(folder);
    return state.subfolders + 2;
  }

  #hasXattrs(node: LowerNode): boolean {
    return (this.#knownFlags(node) & FLAG.xattrs) !== 0;
  }

  #isMetacopy(node: LowerNode): boolean {
    return (this.#knownFlags(node) & FLAG.metacopy) !== 0;
  }

  /** Flags with what the attributes say; their names are read once. */
  #knownFlags(node: LowerNode): number {
    const known = this.#nodes.flags(this.#checked(node));
    if ((known & FLAG.xattrsKnown) !== 0) return known;
    const { folder, name } = this.#place(node);
    const names = this.#layers.listXattrs(folder, name);
    const regular = (this.#nodes.mode(node) & S_IFMT) === S_IFREG;
    const shown = names.some((each) => !isOverlayXattr(each)) ? FLAG.xattrs : 0;
    const metacopy = regular && names.some(isOverlayXattr) && readMarks(this.#layers, folder, name).metacopy;
    this.#nodes.setFlags(node, FLAG.xattrsKnown | shown | (metacopy ? FLAG.metacopy : 0));
    return this.#nodes.flags(node);
  }

  /** Where a regular file's content lies. @throws ErrnoError EIO for a metacopy without */
  #content(node: LowerNode): Place {
    if (!this.#isMetacopy(node)) return this.#place(node);
    const nodes = this.#nodes;
    const { parts } = this.#state(nodes.folder(node));
    this.#found = 0;
    return findContent(this.#layers, this.#roots, parts, nodes.part(node), nodes.name(node));
  }

  #statContent(node: LowerNode): void {
    const { folder, name } = this.#content(node);
    this.#found = 0;
    if (!this.#layers.stat(folder, name)) throw new ErrnoError(errno.EIO, 'statx');
  }

  #contentBlocks(node: LowerNode): number {
    this.#statContent(node);
    return this.#layers.found.blocks;
  }
}
