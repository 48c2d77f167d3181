/** One inode of an image: how much room it needs, and its bytes. */
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../tree/format.js';
import type { Tree } from '../tree/tree.js';
import type { Epoch } from './epoch.js';
import {
  BLOCK_BITS,
  BLOCK_SIZE,
  CHUNK_ENTRY,
  COMPACT,
  COMPACT_SIZE,
  EXTENDED,
  EXTENDED_FORMAT,
  EXTENDED_SIZE,
  INODE,
  LAYOUT_CHUNKED,
  LAYOUT_INLINE,
  LAYOUT_PLAIN,
  MAX_CHUNK_BITS,
  NO_BLOCK,
} from './format.js';
import { Listing, type ListingShape } from './listing.js';
import { type SharedXattrs, unfit } from './xattrs.js';

/** How an inode is written. */
export interface InodeShape {
  readonly extended: boolean;
  /** Bytes of the inode itself, and of the attributes behind it. */
  readonly head: number;
  readonly layout: number;
  /** What `st_size` says. */
  readonly size: number;
  /** Bytes of data behind the attributes: a symbolic link's target, the end of a folder's listing. */
  readonly inline: number;
  /** Entries of the list of chunks, for a file with content. */
  readonly chunks: number;
  /** A chunk's size, as a power of two times the block size. */
  readonly chunkBits: number;
  /** Blocks elsewhere. */
  readonly blocks: number;
  /** Of a folder. */
  readonly listing?: Listing;
  readonly listingShape?: ListingShape;
}

/** Bytes that an inode takes, with all that stands behind it. */
export function inodeRoom({ head, inline, chunks }: InodeShape): number {
  return head + inline + chunks * CHUNK_ENTRY;
}

/** Measures an inode. @throws LayerfsError unimplemented for what a kernel mount cannot show */
export function shapeInode(tree: Tree, ino: number, epoch: Epoch, xattrs: SharedXattrs): InodeShape {
  const mode = tree.mode(ino);
  const type = mode & S_IFMT;
  if (type === S_IFCHR && tree.rdev(ino) === 0) {
    throw unfit(tree, ino, 'a character device 0:0, which is a whiteout to overlayfs');
  }
  const listing = type === S_IFDIR ? new Listing(tree, ino) : undefined;
  const listingShape = listing?.shape();
  const size =
    listingShape?.size ?? (type === S_IFREG ? tree.size(ino) : type === S_IFLNK ? tree.symlinkBytes(ino).length : 0);
  const extended =
    size > 0xffffffff ||
    tree.uid(ino) > 0xffff ||
    tree.gid(ino) > 0xffff ||
    tree.nlink(ino) > 0xffff ||
    tree.mtimeSec(ino) !== epoch.seconds ||
    tree.mtimeNsec(ino) !== epoch.nanoseconds;
  const head = (extended ? EXTENDED_SIZE : COMPACT_SIZE) + xattrs.sizeOf(ino);
  const shape = { extended, head, size, layout: LAYOUT_PLAIN, inline: 0, chunks: 0, chunkBits: 0, blocks: 0 };
  if (type === S_IFREG && size > 0) {
    const bits = Math.min(Math.max(Math.ceil(Math.log2(size)) - BLOCK_BITS, 0), MAX_CHUNK_BITS);
    return { ...shape, layout: LAYOUT_CHUNKED, chunkBits: bits, chunks: Math.ceil(size / 2 ** (bits + BLOCK_BITS)) };
  }
  const tail = listingShape?.lastSize ?? size;
  const fits = head + tail <= BLOCK_SIZE;
  const data = { ...shape, layout: fits ? LAYOUT_INLINE : LAYOUT_PLAIN, inline: fits ? tail : 0 };
  if (listing !== undefined && listingShape !== undefined) {
    return { ...data, blocks: listingShape.fullBlocks + (fits ? 0 : 1), listing, listingShape };
  }
  return type === S_IFLNK && size > 0 ? { ...data, blocks: fits ? 0 : 1 } : shape;
}

/**
 * Writes an inode, its attributes and its list of chunks; inline data is the caller's. `target` is zero there.
 * @param block the first of its blocks elsewhere
 * @returns where inline data goes
 */
export function writeInode(
  tree: Tree,
  ino: number,
  shape: InodeShape,
  xattrs: SharedXattrs,
  block: number,
  target: DataView,
  at: number,
): number {
  const type = tree.mode(ino) & S_IFMT;
  const { extended, size, layout, chunks } = shape;
  target.setUint16(at + INODE.format, layout | (extended ? EXTENDED_FORMAT : 0), true);
  target.setUint16(at + INODE.mode, tree.mode(ino), true);
  target.setUint32(at + INODE.size, size % 0x1_0000_0000, true);
  target.setUint32(at + INODE.ino, ino, true);
  if (type === S_IFCHR || type === S_IFBLK) target.setUint32(at + INODE.union, tree.rdev(ino), true);
  else if (chunks > 0) target.setUint16(at + INODE.union, shape.chunkBits, true);
  else if (shape.blocks > 0) target.setUint32(at + INODE.union, block, true);
  if (extended) {
    target.setUint32(at + INODE.size + 4, Math.floor(size / 0x1_0000_0000), true);
    target.setUint32(at + EXTENDED.uid, tree.uid(ino), true);
    target.setUint32(at + EXTENDED.gid, tree.gid(ino), true);
    target.setBigInt64(at + EXTENDED.mtime, BigInt(tree.mtimeSec(ino)), true);
    target.setUint32(at + EXTENDED.mtimeNsec, tree.mtimeNsec(ino), true);
    target.setUint32(at + EXTENDED.nlink, tree.nlink(ino), true);
  } else {
    target.setUint16(at + COMPACT.nlink, tree.nlink(ino), true);
    target.setUint16(at + COMPACT.uid, tree.uid(ino), true);
    target.setUint16(at + COMPACT.gid, tree.gid(ino), true);
  }
  const base = at + (extended ? EXTENDED_SIZE : COMPACT_SIZE);
  const attributes = xattrs.writeIds(ino, target, base);
  // Counted in words, the head as the first.
  if (attributes > 0) target.setUint16(at + INODE.xattrCount, (attributes - 8) / 4, true);
  const end = base + attributes;
  for (let i = 0; i < chunks; i++) target.setUint32(end + i * CHUNK_ENTRY, NO_BLOCK, true);
  return end;
}
