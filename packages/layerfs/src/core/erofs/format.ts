/**
 * The parts of the EROFS on-disk format that images of ours consist of (docs/erofs.md; kernel:
 * Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h). All numbers are little endian.
 * format: do not change any number here.
 */

export const BLOCK_BITS = 12;
/** The one block size that kernels before 6.4 take on machines with 4 KiB pages. */
export const BLOCK_SIZE = 1 << BLOCK_BITS;

/** Where the superblock begins, and its size. */
export const SUPER_OFFSET = 1024;
export const SUPER_SIZE = 128;
export const MAGIC = 0xe0f5e1e2;

/** Byte offsets in the superblock. */
export const SUPER = {
  magic: 0,
  checksum: 4,
  featureCompat: 8,
  blockBits: 12,
  rootNid: 14,
  inodes: 16,
  epoch: 24,
  epochNsec: 32,
  blocks: 36,
  metaBlock: 40,
  xattrBlock: 44,
  uuid: 48,
  featureIncompat: 80,
} as const;

/** Compatible features: a superblock checksum; times are mtimes. */
export const COMPAT_CHECKSUM = 1;
export const COMPAT_MTIME = 2;
/** Incompatible feature (Linux 5.15): files that list their chunks. */
export const INCOMPAT_CHUNKED = 4;

/** Inodes lie at multiples of this; an inode's number (nid) is its offset divided by it. */
export const SLOT = 32;
export const COMPACT_SIZE = 32;
export const EXTENDED_SIZE = 64;

/** Byte offsets in both inode forms. */
export const INODE = { format: 0, xattrCount: 2, mode: 4, size: 8, union: 16, ino: 20 } as const;
/** Byte offsets in a compact inode; size is 32 bits. */
export const COMPACT = { nlink: 6, uid: 24, gid: 26 } as const;
/** Byte offsets in an extended inode; size is 64 bits. */
export const EXTENDED = { uid: 24, gid: 28, mtime: 32, mtimeNsec: 40, nlink: 44 } as const;

/** Bit 0 of an inode's format; its data layout is in the bits above. */
export const EXTENDED_FORMAT = 1;
export const LAYOUT_PLAIN = 0 << 1;
export const LAYOUT_INLINE = 2 << 1;
export const LAYOUT_CHUNKED = 4 << 1;

/** Bytes of an entry in a chunked file's list, and the address that says "hole". */
export const CHUNK_ENTRY = 4;
export const NO_BLOCK = 0xffffffff;
/** A chunk is at most this power of two times the block size. */
export const MAX_CHUNK_BITS = 31;

/** Behind an inode with xattrs: a head, then the ids (u32) of its shared ones. */
export const XATTR_HEAD = 12;
export const XATTR_SHARED_COUNT = 4;
export const XATTR_ID = 4;
/** An attribute's head: length of the name (u8), index of the prefix (u8), length of the value (u16). */
export const XATTR_ENTRY = 4;
export const MAX_SHARED_XATTRS = 255;
export const MAX_XATTR_VALUE = 0xffff;

/** Name prefixes that are stored as a number; the two ACLs are whole names. */
export const XATTR_PREFIXES: readonly (readonly [prefix: string, index: number])[] = [
  ['user.', 1],
  ['trusted.', 4],
  ['security.', 6],
];
export const XATTR_NAMES: ReadonlyMap<string, number> = new Map([
  ['system.posix_acl_access', 2],
  ['system.posix_acl_default', 3],
]);

/** A dirent: nid u64, offset of the name in its block u16, type u8, zero u8. */
export const DIRENT_SIZE = 12;
export const DIRENT = { nid: 0, nameOffset: 8, type: 10 } as const;
/** File types of dirents by DT_*. */
export const FILE_TYPES: Readonly<Record<number, number>> = { 8: 1, 4: 2, 2: 3, 6: 4, 1: 5, 12: 6, 10: 7 };
