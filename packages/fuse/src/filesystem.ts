import type { Negotiated, InitOptions } from './wire/init.js';
import type { Reply } from './wire/reply.js';

/** Who asks: valid until the handler returns. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  readonly nodeid: number;
  /** The kernel's number of the request as two halves, to match an INTERRUPT. */
  readonly uniqueLow: number;
  readonly uniqueHigh: number;
}

/** What SETATTR sets; `valid` holds FATTR bits. Times in seconds and nanoseconds. */
export interface SetAttr {
  readonly valid: number;
  readonly fh: number;
  readonly size: number;
  readonly atimeSec: number;
  readonly atimeNsec: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A lock request; `end` is inclusive, `type` F_RDLCK 0, F_WRLCK 1, F_UNLCK 2, `flock` a whole-file lock. */
export interface LockRequest {
  readonly fh: number;
  readonly owner: bigint;
  readonly start: number;
  readonly end: number;
  readonly type: number;
  readonly pid: number;
  readonly flock: boolean;
  readonly wait: boolean;
}

/**
 * A file system as the kernel sees it: by inode. The kernel names inodes by `nodeid`, which the file system chose in
 * an earlier answer (the root's is 1) and may forget when `forget` has taken back as many lookups as were answered.
 *
 * Every method is optional: one that is missing is answered with ENOSYS, which the kernel takes as "never ask again"
 * for most operations. A method answers by calling exactly one method of `reply`, or throws: an ErrnoError is
 * passed to the caller, anything else becomes EIO and is reported through the connection's `onError`.
 * Names are byte strings (latin1, one char a byte). Views (`data`) are valid until the method returns.
 */
export interface FileSystem {
  /** What to ask of the kernel in INIT. */
  readonly init: InitOptions;
  /** INIT is done. */
  ready?(negotiated: Negotiated): void;
  /** The file system is unmounted; nothing is asked any more. */
  destroy?(): void;
  /** Something waits no longer for the answer to this request; it may be ended early with EINTR. */
  interrupt?(uniqueLow: number, uniqueHigh: number): void;

  /**
   * No request waits: a moment, some 10 microseconds, for what may be done ahead. Asked again until there is a request or
   * nothing more to do.
   * @returns whether there is more
   */
  spare?(): boolean;
  /** Nobody has asked for anything for a while: gives back what was held ready. Not called where libfuse serves. */
  rest?(): void;
  lookup?(caller: Caller, name: string, reply: Reply): void;
  /** The kernel drops `count` of the lookups it was answered for `nodeid`. Gets no answer. */
  forget?(nodeid: number, count: number): void;
  getattr?(caller: Caller, fh: number | undefined, reply: Reply): void;
  /** What getattr tells, and the time of birth; asked for only when somebody wants to know that. */
  statx?(caller: Caller, reply: Reply): void;
  setattr?(caller: Caller, changes: SetAttr, reply: Reply): void;
  readlink?(caller: Caller, reply: Reply): void;
  symlink?(caller: Caller, name: string, target: string, reply: Reply): void;
  mknod?(caller: Caller, name: string, mode: number, rdev: number, umask: number, reply: Reply): void;
  mkdir?(caller: Caller, name: string, mode: number, umask: number, reply: Reply): void;
  unlink?(caller: Caller, name: string, reply: Reply): void;
  rmdir?(caller: Caller, name: string, reply: Reply): void;
  /** `flags`: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4. */
  rename?(caller: Caller, name: string, newParent: number, newName: string, flags: number, reply: Reply): void;
  link?(caller: Caller, nodeid: number, newName: string, reply: Reply): void;
  /** `kill`: a truncating open takes set-user-ID and set-group-ID away (HANDLE_KILLPRIV_V2). */
  open?(caller: Caller, flags: number, kill: boolean, reply: Reply): void;
  create?(caller: Caller, name: string, flags: number, mode: number, umask: number, reply: Reply): void;
  tmpfile?(caller: Caller, flags: number, mode: number, umask: number, reply: Reply): void;
  read?(caller: Caller, fh: number, offset: number, size: number, reply: Reply): void;
  write?(caller: Caller, fh: number, offset: number, data: Uint8Array, flags: number, reply: Reply): void;
  flush?(caller: Caller, fh: number, owner: bigint, reply: Reply): void;
  release?(caller: Caller, fh: number, flags: number, reply: Reply): void;
  fsync?(caller: Caller, fh: number, dataOnly: boolean, reply: Reply): void;
  opendir?(caller: Caller, flags: number, reply: Reply): void;
  readdir?(caller: Caller, fh: number, offset: number, size: number, reply: Reply): void;
  /** Each entry but `.` and `..` counts as a lookup that `forget` takes back. */
  readdirplus?(caller: Caller, fh: number, offset: number, size: number, reply: Reply): void;
  releasedir?(caller: Caller, fh: number, flags: number, reply: Reply): void;
  fsyncdir?(caller: Caller, fh: number, dataOnly: boolean, reply: Reply): void;
  statfs?(caller: Caller, reply: Reply): void;
  /** `kill`: setting this ACL takes set-group-ID away (SETXATTR_EXT). */
  setxattr?(caller: Caller, name: string, value: Uint8Array, flags: number, kill: boolean, reply: Reply): void;
  getxattr?(caller: Caller, name: string, size: number, reply: Reply): void;
  listxattr?(caller: Caller, size: number, reply: Reply): void;
  removexattr?(caller: Caller, name: string, reply: Reply): void;
  access?(caller: Caller, mask: number, reply: Reply): void;
  getlk?(caller: Caller, lock: LockRequest, reply: Reply): void;
  setlk?(caller: Caller, lock: LockRequest, reply: Reply): void;
  ioctl?(caller: Caller, fh: number, command: number, data: Uint8Array, outSize: number, reply: Reply): void;
  fallocate?(caller: Caller, fh: number, offset: number, length: number, mode: number, reply: Reply): void;
  lseek?(caller: Caller, fh: number, offset: number, whence: number, reply: Reply): void;
  copyFileRange?(
    caller: Caller,
    fh: number,
    offset: number,
    toNodeid: number,
    toFh: number,
    toOffset: number,
    length: number,
    reply: Reply,
  ): void;
  syncfs?(caller: Caller, reply: Reply): void;
}
