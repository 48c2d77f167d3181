import { Attr } from '../../wire/attr.js';
import { ATTR_SIZE, DIRENT_SIZE, ENTRY_OUT_SIZE, OUT_HEADER_SIZE } from '../../wire/constants.js';
import type { Statfs } from '../../wire/reply.js';
import type { Reply } from '../../wire/reply.js';

/** What a LOOKUP or the like was answered. */
export interface Entry {
  /** 0: there is no such name. */
  readonly nodeid: number;
  readonly attr: Attr;
}

/** One name of a folder. */
export interface Dirent {
  readonly ino: number;
  /** DT_ number. */
  readonly type: number;
  /** Where to go on behind it. */
  readonly next: number;
  /** Bytes as latin1. */
  readonly name: string;
}

function u64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}

function i64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readInt32LE(at + 4) * 2 ** 32;
}

/** Reads struct fuse_attr. */
function attrAt(bytes: Buffer, at: number): Attr {
  const attr = new Attr();
  attr.ino = u64(bytes, at);
  attr.size = u64(bytes, at + 8);
  attr.blocks = u64(bytes, at + 16);
  attr.atimeSec = i64(bytes, at + 24);
  attr.mtimeSec = i64(bytes, at + 32);
  attr.ctimeSec = i64(bytes, at + 40);
  attr.atimeNsec = bytes.readUInt32LE(at + 48);
  attr.mtimeNsec = bytes.readUInt32LE(at + 52);
  attr.ctimeNsec = bytes.readUInt32LE(at + 56);
  attr.mode = bytes.readUInt32LE(at + 60);
  attr.nlink = bytes.readUInt32LE(at + 64);
  attr.uid = bytes.readUInt32LE(at + 68);
  attr.gid = bytes.readUInt32LE(at + 72);
  attr.rdev = bytes.readUInt32LE(at + 76);
  attr.blksize = bytes.readUInt32LE(at + 80);
  return attr;
}

/** LOOKUP, MKNOD, MKDIR, SYMLINK, LINK. */
export function entryOf({ bytes }: Reply): Entry {
  return { nodeid: u64(bytes, OUT_HEADER_SIZE), attr: attrAt(bytes, OUT_HEADER_SIZE + ENTRY_OUT_SIZE - ATTR_SIZE) };
}

/** GETATTR, SETATTR. */
export function attrOf({ bytes }: Reply): Attr {
  return attrAt(bytes, OUT_HEADER_SIZE + 16);
}

/** OPEN, OPENDIR: the handle. */
export function openOf({ bytes }: Reply): number {
  return u64(bytes, OUT_HEADER_SIZE);
}

/** CREATE: the inode and its handle. */
export function createOf(reply: Reply): Entry & { readonly fh: number } {
  return { ...entryOf(reply), fh: u64(reply.bytes, OUT_HEADER_SIZE + ENTRY_OUT_SIZE) };
}

/** READLINK, READ, GETXATTR, LISTXATTR: the bytes, valid until the next question. */
export function dataOf({ bytes, length }: Reply): Buffer {
  return bytes.subarray(OUT_HEADER_SIZE, length);
}

/** WRITE; GETXATTR and LISTXATTR without a buffer: a number. */
export function countOf({ bytes }: Reply): number {
  return bytes.readUInt32LE(OUT_HEADER_SIZE);
}

/** READDIR. */
export function direntsOf({ bytes, length }: Reply): Dirent[] {
  const found: Dirent[] = [];
  for (let at = OUT_HEADER_SIZE; at + DIRENT_SIZE <= length;) {
    const end = at + DIRENT_SIZE + bytes.readUInt32LE(at + 16);
    const name = bytes.toString('latin1', at + DIRENT_SIZE, end);
    found.push({ ino: u64(bytes, at), next: u64(bytes, at + 8), type: bytes.readUInt32LE(at + 20), name });
    at = (end + 7) & ~7;
  }
  return found;
}

/** STATFS. */
export function statfsOf({ bytes }: Reply): Statfs {
  const at = OUT_HEADER_SIZE;
  return {
    blocks: u64(bytes, at),
    bfree: u64(bytes, at + 8),
    bavail: u64(bytes, at + 16),
    files: u64(bytes, at + 24),
    ffree: u64(bytes, at + 32),
    bsize: bytes.readUInt32LE(at + 40),
    namelen: bytes.readUInt32LE(at + 44),
  };
}
