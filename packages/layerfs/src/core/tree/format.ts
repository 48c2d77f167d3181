/**
 * The tree file, version 1: constants of the layout described in docs/tree.md.
 * format: do not change any number here; a new layout gets a new version.
 */

/** "LAYERFST" as two little-endian words. format: do not change. */
export const MAGIC_LOW = 0x4559414c;
export const MAGIC_HIGH = 0x54534652;
export const VERSION = 1;

/** The root's inode number, in every tree. */
export const ROOT = 1;

/** Sections in file order. format: do not change. */
export const SECTIONS = ['inodes', 'dirents', 'names', 'xattrs', 'objects', 'layers', 'links'] as const;
export type SectionName = (typeof SECTIONS)[number];

/** Header: 32 bytes, then one 32-byte row for each section. */
export const HEADER_FIXED = 32;
export const SECTION_ROW = 32;
export const HEADER_SIZE = HEADER_FIXED + SECTION_ROW * SECTIONS.length;
/** Header words (u32): 0-1 magic, 2 version, 3 header size, 4-5 file size, 6-7 xxh64 of the header with this field zero. */
export const HEADER = { version: 2, headerSize: 3, fileSizeLow: 4, fileSizeHigh: 5, sumLow: 6, sumHigh: 7 } as const;
/** Words of a section row: offset u64, length u64, xxh64 u64, zero u64. */
export const ROW = { offsetLow: 0, offsetHigh: 1, lengthLow: 2, lengthHigh: 3, sumLow: 4, sumHigh: 5 } as const;

/** Every section starts at a multiple of this. */
export const ALIGNMENT = 8;

/** Words in an inode record (64 bytes). Record 0 is all zero: inode number 0 means "none". */
export const INODE_WORDS = 16;
export const INODE = {
  mode: 0,
  nlink: 1,
  uid: 2,
  gid: 3,
  sizeLow: 4,
  sizeHigh: 5,
  mtimeLow: 6,
  mtimeHigh: 7,
  mtimeNsec: 8,
  rdev: 9,
  /** Regular file: object index, or NONE when empty. Symbolic link: offset of the target in names. Folder: first dirent. */
  ref: 10,
  /** Symbolic link: length of the target. Folder: number of dirents. */
  refLength: 11,
  /** Offset of the set in xattrs, or NONE. */
  xattrs: 12,
  /** Folders: inode number of the parent; the root is its own. */
  parent: 13,
  /** Low half: index into layers. High half: flags. */
  layerFlags: 14,
} as const;

/** Inode flags. */
export const OPAQUE = 1;
export const IMPLIED = 2;

/** Words in a dirent (16 bytes). */
export const DIRENT_WORDS = 4;
export const DIRENT = {
  nameOffset: 0,
  /** Bits 0-15 name length, 16-23 type (DT_*), 24-31 flags. */
  lengthTypeFlags: 1,
  /** Inode number; 0 for a whiteout; for a lower link the index of its target in links. */
  inode: 2,
  /** The first four bytes of the name, big-endian, zero-padded: orders most pairs of names without touching names. */
  prefix: 3,
} as const;

/** Dirent flags. */
export const WHITEOUT = 1;
export const LOWER_LINK = 2;

/** "No object", "no xattrs". */
export const NONE = 0xffffffff;

/** Bytes of a sha256 in objects and layers. */
export const DIGEST_SIZE = 32;
/** Words of a links record: offset in names, length. */
export const LINK_WORDS = 2;
/** An xattr set starts with its length in bytes (this head included) and its number of attributes, both u32. */
export const XATTR_HEAD = 8;
/** Each attribute: name length u16, zero u16, value length u32, name, value, zeros to a multiple of 4. */
export const XATTR_ENTRY = 8;

/** Limits; those of Linux where it has one. */
export const MAX_NAME = 255;
export const MAX_TARGET = 4095;
export const MAX_PATH = 4096;
export const MAX_XATTR_NAME = 255;
export const MAX_XATTR_VALUE = 65536;
export const MAX_LAYERS = 65535;
/** 2^53 - 1 has these high bits: sizes and times beyond are refused, so that a JavaScript number holds them exactly. */
export const MAX_SAFE_HIGH = 0x1fffff;

/** File types: `mode & S_IFMT`. */
export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;
export const S_IFIFO = 0o010000;
export const S_IFSOCK = 0o140000;

/** DT_DIR of dirent.h. */
export const DT_DIR = 4;

/** DT_* of a mode, as in dirent.h. */
export function direntType(mode: number): number {
  return (mode & S_IFMT) >>> 12;
}

/** Whether a mode has one of the file types there are. */
export function isFileType(mode: number): boolean {
  switch (mode & S_IFMT) {
    case S_IFDIR:
    case S_IFREG:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
      return true;
    default:
      return false;
  }
}

/** The prefix word of the name at `[start, start + length)`. */
export function namePrefix(bytes: Uint8Array, start: number, length: number): number {
  let prefix = 0;
  for (let i = 0; i < 4; i++) prefix = (prefix << 8) | (i < length ? bytes[start + i] : 0);
  return prefix >>> 0;
}

/** Order of two names by their bytes: negative, zero, positive. */
export function compareNames(
  a: Uint8Array,
  aStart: number,
  aLength: number,
  b: Uint8Array,
  bStart: number,
  bLength: number,
): number {
  const shared = aLength < bLength ? aLength : bLength;
  for (let i = 0; i < shared; i++) {
    const difference = a[aStart + i] - b[bStart + i];
    if (difference !== 0) return difference;
  }
  return aLength - bLength;
}
