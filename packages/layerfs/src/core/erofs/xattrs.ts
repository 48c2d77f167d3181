/**
 * Extended attributes: all of them lie in the image's shared area, each distinct set of the tree once, and inodes name
 * them by number. The attributes that tell overlayfs what an inode is lie there, too.
 */
import { latin1, printable, writeLatin1 } from '../bytes.js';
import { LayerfsError } from '../error.js';
import { DIGEST_SIZE, NONE, ROOT, INODE as TREE_INODE, INODE_WORDS } from '../tree/format.js';
import type { Tree } from '../tree/tree.js';
import { visitXattrs } from '../tree/xattr.js';
import {
  MAX_SHARED_XATTRS,
  MAX_XATTR_VALUE,
  XATTR_ENTRY,
  XATTR_HEAD,
  XATTR_ID,
  XATTR_NAMES,
  XATTR_PREFIXES,
  XATTR_SHARED_COUNT,
} from './format.js';

/** What overlayfs reads; names of the image that begin so are spelled with this twice, which it undoes (Linux 6.7). */
const OWN = 'trusted.overlay.';
const ESCAPED = 'trusted.overlay.overlay.';
/** Linux takes no longer name. */
const MAX_NAME = 255;
const EMPTY = new Uint8Array();
const YES = Uint8Array.of(0x79);

/** `/ab/cdef…`: where an object lies in the objects folder. */
const REDIRECT_LENGTH = 66;

/** The shared attributes of an image: first measured, then written. Numbers of attributes count in units of 4 bytes. */
export class SharedXattrs {
  /** Bytes of the area. */
  readonly size: number;
  readonly #tree: Tree;
  /** By offset in the tree's pool, in words: the first attribute's number, 0: not seen. */
  readonly #setIds: Uint32Array;
  /** Offsets of the sets in the order in which they lie in the area. */
  readonly #order: number[] = [];
  readonly #metacopy: number;
  readonly #opaque: number;
  readonly #redirects: number;

  /** @throws LayerfsError unimplemented, naming the attribute and the file, for what EROFS or overlayfs cannot hold */
  constructor(tree: Tree) {
    this.#tree = tree;
    this.#setIds = new Uint32Array(tree.sections.xattrs.length >>> 2);
    // Number 0 would be as good as any, but is "not seen" here.
    let end = XATTR_ENTRY;
    this.#metacopy = end / XATTR_ID;
    end += entrySize(METACOPY.length, 0);
    this.#opaque = end / XATTR_ID;
    end += entrySize(OPAQUE.length, YES.length);
    this.#redirects = end / XATTR_ID;
    end += tree.objectCount * REDIRECT_SIZE;
    for (let ino = ROOT as number; ino <= tree.inodeCount; ino++) {
      const offset = setOffset(tree, ino);
      if (offset === NONE || this.#setIds[offset >>> 2] !== 0) continue;
      let count = 0;
      const first = end / XATTR_ID;
      visitXattrs(tree.sections.xattrs, offset, (start, length, _, valueLength) => {
        const { rest } = this.#encodedName(ino, latin1(tree.sections.xattrs, start, start + length), valueLength);
        end += entrySize(rest.length, valueLength);
        count++;
        return false;
      });
      if (count + 2 > MAX_SHARED_XATTRS) {
        throw unfit(tree, ino, `${count} extended attributes, over ${MAX_SHARED_XATTRS - 2}`);
      }
      this.#setIds[offset >>> 2] = first;
      this.#order.push(offset);
    }
    const unused = tree.objectCount === 0 && this.#order.length === 0 && !hasOpaque(tree);
    this.size = unused ? 0 : end;
    if (end > 0xffffffff) throw new LayerfsError('unimplemented', 'over 4 GiB of extended attributes');
  }

  /** How many bytes stand behind an inode for its attributes. */
  sizeOf(ino: number): number {
    const count = this.#countOf(ino);
    return count === 0 ? 0 : XATTR_HEAD + count * XATTR_ID;
  }

  /** Writes what stands behind an inode. @returns the number of bytes */
  writeIds(ino: number, target: DataView, offset: number): number {
    const tree = this.#tree;
    let at = offset + XATTR_HEAD;
    const put = (id: number): void => {
      target.setUint32(at, id, true);
      at += XATTR_ID;
    };
    const object = tree.objectIndex(ino);
    if (object >= 0) {
      put(this.#metacopy);
      put(this.#redirects + (object * REDIRECT_SIZE) / XATTR_ID);
    }
    if (tree.isOpaque(ino)) put(this.#opaque);
    const set = setOffset(tree, ino);
    if (set !== NONE) {
      let end = this.#setIds[set >>> 2] * XATTR_ID;
      visitXattrs(tree.sections.xattrs, set, (start, length, _, valueLength) => {
        put(end / XATTR_ID);
        const { rest } = encodeName(latin1(tree.sections.xattrs, start, start + length));
        end += entrySize(rest.length, valueLength);
        return false;
      });
    }
    const count = (at - offset - XATTR_HEAD) / XATTR_ID;
    if (count === 0) return 0;
    target.setUint8(offset + XATTR_SHARED_COUNT, count);
    return at - offset;
  }

  /** The area's attributes, in order, each padded to 4 bytes. An array is good until the next is asked for. */
  *encode(): Generator<Uint8Array, void> {
    const tree = this.#tree;
    yield new Uint8Array(XATTR_ENTRY);
    yield encodeEntry(METACOPY, 4, EMPTY);
    yield encodeEntry(OPAQUE, 4, YES);
    // One array for all: a million objects are no reason for a million of them.
    const redirect = encodeEntry(REDIRECT, 4, new Uint8Array(REDIRECT_LENGTH));
    for (let object = 0; object < tree.objectCount; object++) {
      writeRedirect(tree.sections.objects, object * DIGEST_SIZE, redirect, XATTR_ENTRY + REDIRECT.length);
      yield redirect;
    }
    const pool = tree.sections.xattrs;
    for (const offset of this.#order) {
      const entries: Uint8Array[] = [];
      visitXattrs(pool, offset, (start, length, valueStart, valueLength) => {
        const { rest, index } = encodeName(latin1(pool, start, start + length));
        entries.push(encodeEntry(rest, index, pool.subarray(valueStart, valueStart + valueLength)));
        return false;
      });
      yield* entries;
    }
  }

  #countOf(ino: number): number {
    const tree = this.#tree;
    let count = (tree.objectIndex(ino) >= 0 ? 2 : 0) + (tree.isOpaque(ino) ? 1 : 0);
    const offset = setOffset(tree, ino);
    if (offset === NONE) return count;
    visitXattrs(tree.sections.xattrs, offset, () => {
      count++;
      return false;
    });
    return count;
  }

  #encodedName(ino: number, name: string, valueLength: number): ReturnType<typeof encodeName> {
    const encoded = encodeName(name);
    if (encoded.index === 0 || encoded.full > MAX_NAME) {
      throw unfit(this.#tree, ino, `no extended attribute of a kernel mount can be called ${printable(name)}`);
    }
    if (valueLength > MAX_XATTR_VALUE) {
      throw unfit(
        this.#tree,
        ino,
        `extended attribute ${printable(name)} of ${valueLength} bytes, over ${MAX_XATTR_VALUE}`,
      );
    }
    return encoded;
  }
}

/** An error that says that a tree cannot be an EROFS image, and which file is the reason. */
export function unfit(tree: Tree, ino: number, what: string): LayerfsError {
  return new LayerfsError('unimplemented', `${pathOf(tree, ino)}: ${what}`);
}

function pathOf(tree: Tree, ino: number): string {
  if (ino === ROOT) return '/';
  for (const entry of tree.walk()) if (entry.ino === ino) return `/${printable(entry.path)}`;
  return `inode ${ino}`;
}

function hasOpaque(tree: Tree): boolean {
  for (let ino = ROOT as number; ino <= tree.inodeCount; ino++) if (tree.isOpaque(ino)) return true;
  return false;
}

function setOffset(tree: Tree, ino: number): number {
  return tree.sections.inodes[ino * INODE_WORDS + TREE_INODE.xattrs];
}

/** The number of the prefix (0: there is none), what follows it, and the length of the name in full. */
function encodeName(name: string): { readonly index: number; readonly rest: string; readonly full: number } {
  const whole = XATTR_NAMES.get(name);
  if (whole !== undefined) return { index: whole, rest: '', full: name.length };
  const stored = name.startsWith(OWN) ? ESCAPED + name.slice(OWN.length) : name;
  for (const [prefix, index] of XATTR_PREFIXES) {
    if (stored.startsWith(prefix) && stored.length > prefix.length) {
      return { index, rest: stored.slice(prefix.length), full: stored.length };
    }
  }
  return { index: 0, rest: '', full: 0 };
}

function encodeEntry(rest: string, index: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(entrySize(rest.length, value.length));
  bytes[0] = rest.length;
  bytes[1] = index;
  bytes[2] = value.length & 0xff;
  bytes[3] = value.length >>> 8;
  writeLatin1(rest, bytes, XATTR_ENTRY);
  bytes.set(value, XATTR_ENTRY + rest.length);
  return bytes;
}

/** `/`, two digits, `/`, sixty-two digits. */
function writeRedirect(digests: Uint8Array, digest: number, target: Uint8Array, at: number): void {
  let end = at;
  target[end++] = SLASH;
  for (let i = 0; i < DIGEST_SIZE; i++) {
    if (i === 1) target[end++] = SLASH;
    const byte = digests[digest + i];
    target[end++] = DIGITS.charCodeAt(byte >>> 4);
    target[end++] = DIGITS.charCodeAt(byte & 15);
  }
}

const SLASH = 0x2f;
const DIGITS = '0123456789abcdef';

function entrySize(nameLength: number, valueLength: number): number {
  return Math.ceil((XATTR_ENTRY + nameLength + valueLength) / XATTR_ID) * XATTR_ID;
}

const METACOPY = 'overlay.metacopy';
const OPAQUE = 'overlay.opaque';
const REDIRECT = 'overlay.redirect';
const REDIRECT_SIZE = entrySize(REDIRECT.length, REDIRECT_LENGTH);
