/**
 * Turns a draft into the file: drops what has no name, numbers inodes breadth-first by folder (so that a folder's
 * children lie together, which is what READDIRPLUS and a cold `ls -l` read), counts links, packs names in that order.
 */
import { LayerfsError } from '../error.js';
import { ENTRY_LOWER_LINK, ENTRY_WHITEOUT, type Entries } from './entries.js';
import { TreeFile } from './file.js';
import {
  DIGEST_SIZE,
  DIRENT,
  DIRENT_WORDS,
  INODE,
  INODE_WORDS,
  LINK_WORDS,
  LOWER_LINK,
  MAX_LAYERS,
  NONE,
  OPAQUE,
  ROOT,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  WHITEOUT,
  direntType,
  namePrefix,
} from './format.js';
import type { Xxh64 } from './hash.js';
import type { Inodes } from './inodes.js';
import { sortEntries } from './order.js';
import type { BytePool } from './pool.js';

/** Everything a builder has gathered. */
export interface Draft {
  readonly inodes: Inodes;
  readonly entries: Entries;
  /** Names, link targets and lower paths. */
  readonly strings: BytePool;
  readonly xattrSets: BytePool;
  readonly objects: BytePool;
}

/** @see TreeBuilder.finish */
export function finishTree(draft: Draft, layers: readonly Uint8Array[], hash: Xxh64): Uint8Array {
  if (layers.length > MAX_LAYERS || layers.some((layer) => layer.length !== DIGEST_SIZE)) {
    throw new LayerfsError('invalid-argument', `layers: up to ${MAX_LAYERS} diffIDs of ${DIGEST_SIZE} bytes`);
  }
  const numbering = number(draft);
  const { strings, xattrSets, objects } = draft;
  const names = new Packing(strings.count);
  const xattrs = new Packing(xattrSets.count);
  const objectNumbers = new Packing(objects.count);
  let links = 0;
  for (let i = 0; i < numbering.dirents; i++) {
    const entry = numbering.entryOf[i];
    names.place(draft.entries.name(entry), strings);
    if ((draft.entries.flags(entry) & ENTRY_LOWER_LINK) !== 0) {
      names.place(draft.entries.inode(entry) - 1, strings);
      links++;
    }
  }
  for (let ino = 1; ino <= numbering.inodes; ino++) {
    const old = numbering.oldOf[ino];
    const type = draft.inodes.get(old, INODE.mode) & S_IFMT;
    const ref = draft.inodes.get(old, INODE.ref);
    if (type === S_IFLNK) names.place(ref, strings);
    else if (type === S_IFREG && ref !== NONE) objectNumbers.number(ref);
    const set = draft.inodes.get(old, INODE.xattrs);
    if (set !== NONE) xattrs.place(set, xattrSets);
  }
  const file = new TreeFile({
    inodes: numbering.inodes,
    dirents: numbering.dirents,
    names: names.size,
    xattrs: xattrs.size,
    objects: objectNumbers.size,
    layers: layers.length,
    links,
  });
  names.copy(strings, file.names);
  xattrs.copy(xattrSets, file.xattrs);
  for (let id = 0; id < objects.count; id++) {
    const at = objectNumbers.at(id);
    if (at !== NONE) file.objects.set(objects.view(id), at * DIGEST_SIZE);
  }
  layers.forEach((layer, i) => file.layers.set(layer, i * DIGEST_SIZE));
  writeInodes(draft, numbering, file, { names, xattrs, objects: objectNumbers });
  writeDirents(draft, numbering, file, names);
  return file.seal(hash);
}

/** Which draft inode and entry each number of the file stands for. */
interface Numbering {
  inodes: number;
  dirents: number;
  /** New inode number -> old one. */
  oldOf: Uint32Array;
  /** Old inode number -> new one, 0 when dropped. */
  newOf: Uint32Array;
  /** Dirent -> entry. */
  entryOf: Uint32Array;
  /** New inode number -> its first dirent (the next one's, if it is no folder). */
  firstOf: Uint32Array;
}

function number({ inodes, entries, strings }: Draft): Numbering {
  const oldOf = new Uint32Array(inodes.count + 1);
  const newOf = new Uint32Array(inodes.count + 1);
  const entryOf = new Uint32Array(entries.count);
  const firstOf = new Uint32Array(inodes.count + 2);
  let count = 1;
  let dirents = 0;
  oldOf[1] = ROOT;
  newOf[ROOT] = 1;
  // The inodes numbered so far are the queue of this breadth-first walk.
  for (let ino = 1; ino <= count; ino++) {
    const old = oldOf[ino];
    const first = dirents;
    firstOf[ino] = first;
    if ((inodes.get(old, INODE.mode) & S_IFMT) !== S_IFDIR) continue;
    for (let entry = inodes.get(old, INODE.ref); entry !== 0; entry = entries.next(entry)) {
      // Neither inode nor whiteout: taken away again.
      if (entries.inode(entry) !== 0 || entries.flags(entry) !== 0) entryOf[dirents++] = entry;
    }
    sortEntries(entryOf.subarray(first, dirents), dirents - first, entries, strings);
    for (let i = first; i < dirents; i++) {
      const child = (entries.flags(entryOf[i]) & ENTRY_LOWER_LINK) !== 0 ? 0 : entries.inode(entryOf[i]);
      if (child !== 0 && newOf[child] === 0) {
        newOf[child] = ++count;
        oldOf[count] = child;
      }
    }
  }
  firstOf[count + 1] = dirents;
  return { inodes: count, dirents, oldOf, newOf, entryOf, firstOf };
}

/** New places for the strings of a pool that are still wanted, in the order in which they are asked for. */
class Packing {
  readonly #places: Uint32Array;
  size = 0;

  constructor(count: number) {
    this.#places = new Uint32Array(count).fill(NONE);
  }

  /** Gives a string its offset in bytes, the first time. */
  place(id: number, pool: BytePool): void {
    if (this.#places[id] !== NONE) return;
    this.#places[id] = this.size;
    this.size += pool.length(id);
  }

  /** Gives a string its number, the first time. */
  number(id: number): void {
    if (this.#places[id] === NONE) this.#places[id] = this.size++;
  }

  /** Offset or number; NONE when the string is not wanted. */
  at(id: number): number {
    return this.#places[id];
  }

  /** Copies the placed strings. */
  copy(pool: BytePool, target: Uint8Array): void {
    const bytes = pool.bytes;
    for (let id = 0; id < this.#places.length; id++) {
      const to = this.#places[id];
      if (to === NONE) continue;
      const from = pool.start(id);
      const length = pool.length(id);
      // Names are short: a loop beats set() with its two views.
      for (let i = 0; i < length; i++) target[to + i] = bytes[from + i];
    }
  }
}

function writeInodes(
  draft: Draft,
  { inodes, oldOf, newOf, firstOf }: Numbering,
  file: TreeFile,
  packed: { names: Packing; xattrs: Packing; objects: Packing },
): void {
  const out = file.inodes;
  for (let ino = 1; ino <= inodes; ino++) {
    const at = ino * INODE_WORDS;
    draft.inodes.copy(oldOf[ino], out, at);
    const set = out[at + INODE.xattrs];
    if (set !== NONE) out[at + INODE.xattrs] = packed.xattrs.at(set);
    const ref = out[at + INODE.ref];
    switch (out[at + INODE.mode] & S_IFMT) {
      case S_IFDIR:
        out[at + INODE.ref] = firstOf[ino];
        out[at + INODE.refLength] = firstOf[ino + 1] - firstOf[ino];
        out[at + INODE.parent] = newOf[out[at + INODE.parent]];
        out[at + INODE.nlink] = 2;
        break;
      case S_IFREG:
        if (ref !== NONE) out[at + INODE.ref] = packed.objects.at(ref);
        break;
      case S_IFLNK:
        out[at + INODE.ref] = packed.names.at(ref);
        break;
      default:
    }
  }
}

function writeDirents(draft: Draft, numbering: Numbering, file: TreeFile, names: Packing): void {
  const { entries, strings } = draft;
  const { inodes: out, dirents, links } = file;
  let link = 0;
  // Dirents lie in the order of their folders; `folder` follows along for its sub-folder count.
  let folder = 1;
  for (let i = 0; i < numbering.dirents; i++) {
    while (numbering.firstOf[folder + 1] <= i) folder++;
    const entry = numbering.entryOf[i];
    const id = entries.name(entry);
    const flags = entries.flags(entry);
    let type = 0;
    let direntFlags = 0;
    let inode = 0;
    if ((flags & ENTRY_LOWER_LINK) !== 0) {
      const target = entries.inode(entry) - 1;
      direntFlags = LOWER_LINK;
      inode = link;
      links[link * LINK_WORDS] = names.at(target);
      links[link * LINK_WORDS + 1] = strings.length(target);
      link++;
    } else if (entries.inode(entry) === 0) {
      direntFlags = WHITEOUT;
    } else {
      inode = numbering.newOf[entries.inode(entry)];
      const at = inode * INODE_WORDS;
      const mode = out[at + INODE.mode];
      type = direntType(mode);
      if ((mode & S_IFMT) !== S_IFDIR) out[at + INODE.nlink]++;
      else {
        out[folder * INODE_WORDS + INODE.nlink]++;
        if ((flags & ENTRY_WHITEOUT) !== 0) out[at + INODE.layerFlags] |= OPAQUE << 16;
      }
    }
    const at = i * DIRENT_WORDS;
    dirents[at + DIRENT.nameOffset] = names.at(id);
    dirents[at + DIRENT.lengthTypeFlags] = strings.length(id) | (type << 16) | (direntFlags << 24);
    dirents[at + DIRENT.inode] = inode;
    dirents[at + DIRENT.prefix] = namePrefix(file.names, names.at(id), strings.length(id));
  }
}
