/**
 * An EROFS image of a tree: all metadata, no content. A regular file is a hole of the right size, with the attributes that make
 * overlayfs take its content from the objects folder, mounted as a data-only layer (docs/erofs.md).
 *
 * Two passes over the tree: the first gives each inode its place, the second writes from front to back. Between them only a
 * number for each inode is kept.
 */
import { LayerfsError } from '../error.js';
import { printable } from '../bytes.js';
import { ROOT, S_IFCHR, S_IFLNK, S_IFMT } from '../tree/format.js';
import type { Tree } from '../tree/tree.js';
import { crc32c } from './crc32c.js';
import { commonTime, type Epoch } from './epoch.js';
import {
  BLOCK_BITS,
  BLOCK_SIZE,
  COMPACT,
  COMPACT_SIZE,
  COMPAT_CHECKSUM,
  COMPAT_MTIME,
  EXTENDED,
  EXTENDED_FORMAT,
  EXTENDED_SIZE,
  FILE_TYPES,
  INCOMPAT_CHUNKED,
  INODE,
  MAGIC,
  SLOT,
  SUPER,
  SUPER_OFFSET,
  SUPER_SIZE,
} from './format.js';
import { inodeRoom, shapeInode, writeInode, type InodeShape } from './inode.js';
import type { Listing } from './listing.js';
import { Slots, WINDOW } from './slots.js';
import { SharedXattrs } from './xattrs.js';

/** Options of {@link ErofsImage}. */
export interface ErofsOptions {
  /** 16 bytes; zeros otherwise. Overlayfs knows the lower by it again. */
  readonly uuid?: Uint8Array;
}

/** Numbers of blocks are 32 bits, the largest means "none". */
const MAX_SIZE = 0xfffffffe * BLOCK_SIZE;
const CHARACTER_DEVICE = 3;

/** The image of a tree: measured when constructed, written by {@link ErofsImage.write}. */
export class ErofsImage {
  /** Bytes. */
  readonly size: number;
  readonly #tree: Tree;
  readonly #uuid: Uint8Array;
  readonly #epoch: Epoch;
  readonly #xattrs: SharedXattrs;
  readonly #nids: Uint32Array;
  readonly #whiteouts: number;
  readonly #whiteoutNid: number;
  readonly #metaEnd: number;
  readonly #dataEnd: number;
  readonly #chunked: boolean;

  /**
   * @throws LayerfsError unimplemented, naming the file, for what an image or overlayfs cannot hold: character devices 0:0,
   * attributes of other namespaces than `user`, `trusted`, `security` and POSIX ACLs or of more than 65,535 bytes, links to a lower layer
   */
  constructor(tree: Tree, options: ErofsOptions = {}) {
    this.#tree = tree;
    this.#uuid = options.uuid ?? new Uint8Array(16);
    if (this.#uuid.length !== 16) throw new LayerfsError('invalid-argument', 'an EROFS UUID has 16 bytes');
    this.#epoch = commonTime(tree);
    this.#xattrs = new SharedXattrs(tree);
    this.#nids = new Uint32Array(tree.inodeCount + 1);
    this.#whiteouts = countWhiteouts(tree);
    const slots = new Slots(SUPER_OFFSET + SUPER_SIZE);
    let blocks = 0;
    let chunked = false;
    for (let ino = ROOT as number; ino <= tree.inodeCount; ino++) {
      const shape = this.#shape(ino);
      blocks += shape.blocks;
      chunked ||= shape.chunks > 0;
      const offset = slots.place(inodeRoom(shape), shape.inline > 0);
      if (offset / SLOT > 0xffffffff) throw new LayerfsError('unimplemented', 'over 128 GiB of inodes');
      this.#nids[ino] = offset / SLOT;
    }
    const whiteoutSize = this.#whiteouts > 0xffff ? EXTENDED_SIZE : COMPACT_SIZE;
    this.#whiteoutNid = this.#whiteouts === 0 ? 0 : slots.place(whiteoutSize, false) / SLOT;
    this.#chunked = chunked;
    this.#metaEnd = roundUp(slots.end);
    this.#dataEnd = this.#metaEnd + blocks * BLOCK_SIZE;
    this.size = this.#dataEnd + roundUp(this.#xattrs.size);
    if (this.size > MAX_SIZE) throw new LayerfsError('unimplemented', `an EROFS image of ${this.size} bytes`);
  }

  /** The image's bytes from front to back, about a mebibyte at a time. The same tree gives the same bytes. */
  *write(): Generator<Uint8Array, void> {
    yield* this.#writeInodes();
    yield* this.#writeBlocks();
    yield* this.#writeXattrs();
  }

  *#writeInodes(): Generator<Uint8Array, void> {
    const tree = this.#tree;
    let start = 0;
    let window = new DataView(new ArrayBuffer(Math.min(WINDOW, this.#metaEnd)));
    this.#writeSuperblock(window);
    let block = this.#metaEnd / BLOCK_SIZE;
    const finished = (): Uint8Array => {
      const bytes = new Uint8Array(window.buffer);
      if (start === 0) sealSuperblock(window);
      start += bytes.length;
      if (start < this.#metaEnd) window = new DataView(new ArrayBuffer(Math.min(WINDOW, this.#metaEnd - start)));
      return bytes;
    };
    for (let ino = ROOT as number; ino <= tree.inodeCount; ino++) {
      const offset = this.#nids[ino] * SLOT;
      if (offset >= start + WINDOW) yield finished();
      const shape = this.#shape(ino);
      const end = writeInode(tree, ino, shape, this.#xattrs, block, window, offset - start);
      this.#writeInline(ino, shape, window, end);
      block += shape.blocks;
    }
    if (this.#whiteouts > 0) {
      if (this.#whiteoutNid * SLOT >= start + WINDOW) yield finished();
      this.#writeWhiteout(window, this.#whiteoutNid * SLOT - start);
    }
    yield finished();
  }

  #writeInline(ino: number, shape: InodeShape, target: DataView, at: number): void {
    if (shape.inline === 0) return;
    const { listing, listingShape } = shape;
    if (listing !== undefined && listingShape !== undefined) {
      this.#writeListing(ino, listing, listingShape.lastFrom, target, at);
    } else bytesOf(target).set(this.#tree.symlinkBytes(ino), at);
  }

  #writeListing(ino: number, listing: Listing, from: number, target: DataView, at: number): number {
    const tree = this.#tree;
    return listing.encode(from, target, at, this.#nids[ino], this.#nids[tree.parent(ino)], (dirent) =>
      tree.isWhiteout(dirent)
        ? { nid: this.#whiteoutNid, type: CHARACTER_DEVICE }
        : { nid: this.#nids[tree.direntInode(dirent)], type: FILE_TYPES[tree.direntType(dirent)] },
    );
  }

  /** Whole blocks of large folders, and targets that do not fit behind their inode. */
  *#writeBlocks(): Generator<Uint8Array, void> {
    const tree = this.#tree;
    const parts = new Parts();
    for (let ino = ROOT as number; ino <= tree.inodeCount; ino++) {
      const isLink = (tree.mode(ino) & S_IFMT) === S_IFLNK;
      if (!isLink && !tree.isDirectory(ino)) continue;
      const shape = this.#shape(ino);
      if (shape.blocks === 0) continue;
      if (isLink) yield* parts.add(padded(tree.symlinkBytes(ino)));
      else if (shape.listing !== undefined) {
        let from = 0;
        for (let i = 0; i < shape.blocks; i++) {
          const block = new DataView(new ArrayBuffer(BLOCK_SIZE));
          from = this.#writeListing(ino, shape.listing, from, block, 0);
          yield* parts.add(bytesOf(block));
        }
      }
    }
    yield* parts.end();
  }

  *#writeXattrs(): Generator<Uint8Array, void> {
    if (this.#xattrs.size === 0) return;
    const parts = new Parts();
    for (const entry of this.#xattrs.encode()) yield* parts.add(entry);
    yield* parts.add(new Uint8Array(roundUp(this.#xattrs.size) - this.#xattrs.size));
    yield* parts.end();
  }

  #writeWhiteout(target: DataView, at: number): void {
    const extended = this.#whiteouts > 0xffff;
    target.setUint16(at + INODE.format, extended ? EXTENDED_FORMAT : 0, true);
    target.setUint16(at + INODE.mode, S_IFCHR, true);
    target.setUint32(at + INODE.ino, this.#tree.inodeCount + 1, true);
    if (!extended) return target.setUint16(at + COMPACT.nlink, this.#whiteouts, true);
    target.setUint32(at + EXTENDED.nlink, this.#whiteouts, true);
    target.setBigInt64(at + EXTENDED.mtime, BigInt(this.#epoch.seconds), true);
    target.setUint32(at + EXTENDED.mtimeNsec, this.#epoch.nanoseconds, true);
  }

  #writeSuperblock(target: DataView): void {
    const at = SUPER_OFFSET;
    target.setUint32(at + SUPER.magic, MAGIC, true);
    target.setUint32(at + SUPER.featureCompat, COMPAT_CHECKSUM | COMPAT_MTIME, true);
    target.setUint8(at + SUPER.blockBits, BLOCK_BITS);
    target.setUint16(at + SUPER.rootNid, this.#nids[ROOT], true);
    const inodes = this.#tree.inodeCount + (this.#whiteouts > 0 ? 1 : 0);
    target.setUint32(at + SUPER.inodes, inodes, true);
    target.setBigInt64(at + SUPER.epoch, BigInt(this.#epoch.seconds), true);
    target.setUint32(at + SUPER.epochNsec, this.#epoch.nanoseconds, true);
    target.setUint32(at + SUPER.blocks, this.size / BLOCK_SIZE, true);
    target.setUint32(at + SUPER.xattrBlock, this.#xattrs.size === 0 ? 0 : this.#dataEnd / BLOCK_SIZE, true);
    bytesOf(target).set(this.#uuid, at + SUPER.uuid);
    target.setUint32(at + SUPER.featureIncompat, this.#chunked ? INCOMPAT_CHUNKED : 0, true);
  }

  #shape(ino: number): InodeShape {
    return shapeInode(this.#tree, ino, this.#epoch, this.#xattrs);
  }
}

/** Small pieces, put together to about a mebibyte. */
class Parts {
  #bytes = new Uint8Array(WINDOW);
  #used = 0;

  *add(part: Uint8Array): Generator<Uint8Array, void> {
    for (let from = 0; from < part.length;) {
      const take = Math.min(part.length - from, WINDOW - this.#used);
      this.#bytes.set(part.subarray(from, from + take), this.#used);
      this.#used += take;
      from += take;
      if (this.#used < WINDOW) continue;
      yield this.#bytes;
      this.#bytes = new Uint8Array(WINDOW);
      this.#used = 0;
    }
  }

  *end(): Generator<Uint8Array, void> {
    if (this.#used > 0) yield this.#bytes.subarray(0, this.#used);
  }
}

function sealSuperblock(target: DataView): void {
  const sum = crc32c(bytesOf(target).subarray(SUPER_OFFSET, BLOCK_SIZE));
  target.setUint32(SUPER_OFFSET + SUPER.checksum, sum, true);
}

function countWhiteouts(tree: Tree): number {
  let count = 0;
  for (let dirent = 0; dirent < tree.direntCount; dirent++) {
    if (tree.isWhiteout(dirent)) count++;
    if (tree.isLowerLink(dirent)) {
      throw new LayerfsError(
        'unimplemented',
        `${printable(tree.direntName(dirent))}: a hardlink to a file of a lower layer: only the merged tree can be an image`,
      );
    }
  }
  return count;
}

function padded(bytes: Uint8Array): Uint8Array {
  const block = new Uint8Array(BLOCK_SIZE);
  block.set(bytes);
  return block;
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function roundUp(size: number): number {
  return Math.ceil(size / BLOCK_SIZE) * BLOCK_SIZE;
}
