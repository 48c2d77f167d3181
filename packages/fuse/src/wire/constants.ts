/** Numbers of the FUSE protocol, from include/uapi/linux/fuse.h (protocol 7.45). Format: do not change. */

export const KERNEL_VERSION = 7;
export const KERNEL_MINOR_VERSION = 45;
/** The root's nodeid. */
export const ROOT_ID = 1;

/** struct fuse_in_header, struct fuse_out_header. */
export const IN_HEADER_SIZE = 40;
export const OUT_HEADER_SIZE = 16;
/** struct fuse_attr (since 7.9) and struct fuse_entry_out. */
export const ATTR_SIZE = 88;
export const ENTRY_OUT_SIZE = 40 + ATTR_SIZE;
/** struct fuse_dirent without its name; names are padded to 8 bytes. */
export const DIRENT_SIZE = 24;

/** Capability bits of INIT as bit numbers: 0 to 31 lie in `flags`, 32 to 63 in `flags2`. */
export const INIT = {
  ASYNC_READ: 0,
  POSIX_LOCKS: 1,
  ATOMIC_O_TRUNC: 3,
  EXPORT_SUPPORT: 4,
  BIG_WRITES: 5,
  DONT_MASK: 6,
  SPLICE_WRITE: 7,
  SPLICE_MOVE: 8,
  SPLICE_READ: 9,
  FLOCK_LOCKS: 10,
  HAS_IOCTL_DIR: 11,
  AUTO_INVAL_DATA: 12,
  DO_READDIRPLUS: 13,
  READDIRPLUS_AUTO: 14,
  ASYNC_DIO: 15,
  WRITEBACK_CACHE: 16,
  NO_OPEN_SUPPORT: 17,
  PARALLEL_DIROPS: 18,
  HANDLE_KILLPRIV: 19,
  POSIX_ACL: 20,
  ABORT_ERROR: 21,
  MAX_PAGES: 22,
  CACHE_SYMLINKS: 23,
  NO_OPENDIR_SUPPORT: 24,
  EXPLICIT_INVAL_DATA: 25,
  SUBMOUNTS: 27,
  HANDLE_KILLPRIV_V2: 28,
  SETXATTR_EXT: 29,
  INIT_EXT: 30,
  SECURITY_CTX: 32,
  HAS_INODE_DAX: 33,
  CREATE_SUPP_GROUP: 34,
  HAS_EXPIRE_ONLY: 35,
  DIRECT_IO_ALLOW_MMAP: 36,
  PASSTHROUGH: 37,
  NO_EXPORT_SUPPORT: 38,
  HAS_RESEND: 39,
  ALLOW_IDMAP: 40,
  OVER_IO_URING: 41,
  REQUEST_TIMEOUT: 42,
} as const;

/** Bits of the answer to OPEN, OPENDIR and CREATE. */
export const FOPEN = {
  DIRECT_IO: 1,
  KEEP_CACHE: 2,
  NONSEEKABLE: 4,
  CACHE_DIR: 8,
  STREAM: 16,
  NOFLUSH: 32,
  PARALLEL_DIRECT_WRITES: 64,
  PASSTHROUGH: 128,
} as const;

/** Which fields a SETATTR sets. */
export const FATTR = {
  MODE: 1,
  UID: 2,
  GID: 4,
  SIZE: 8,
  ATIME: 16,
  MTIME: 32,
  FH: 64,
  ATIME_NOW: 128,
  MTIME_NOW: 256,
  LOCKOWNER: 512,
  CTIME: 1024,
  KILL_SUIDGID: 2048,
} as const;

/** Codes of notifications, the negative `error` field's counterpart in an unsolicited message. */
export const NOTIFY = { INVAL_INODE: 2, INVAL_ENTRY: 3, DELETE: 6, INC_EPOCH: 8 } as const;

/** Opcodes. */
export const OPCODE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
} as const;

/** Device ioctls: _IOR(229, 0, u32), _IOW(229, 1, 16 bytes), _IOW(229, 2, u32). */
export const DEV_IOC = { CLONE: 0x8004e500, BACKING_OPEN: 0x4010e501, BACKING_CLOSE: 0x4004e502 } as const;
