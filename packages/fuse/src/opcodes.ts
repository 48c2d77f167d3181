import { ErrnoError, errno } from '@layerfs/linux';
import type { FileSystem, LockRequest } from './filesystem.js';
import { OPCODE } from './wire/constants.js';
import type { Reply } from './wire/reply.js';
import type { Request } from './wire/request.js';

/** How one opcode is served. INIT, DESTROY and INTERRUPT belong to the connection. */
export interface Operation {
  readonly name: string;
  readonly opcode: number;
  /** Least bytes behind the header; a shorter request gets EINVAL. */
  readonly minimum: number;
  /** The method of FileSystem that serves it; without it the answer is ENOSYS. */
  readonly method: keyof FileSystem;
  /** The kernel expects no answer. */
  readonly silent?: true;
  readonly handle: (fs: Required<FileSystem>, request: Request, reply: Reply) => void;
}

const FH_VALID = 1; // FUSE_GETATTR_FH
const LK_FLOCK = 1;
const OPEN_KILL_SUIDGID = 1;
const SETXATTR_ACL_KILL_SGID = 1;

function u64(request: Request, offset: number): bigint {
  return BigInt(request.u32(offset)) | (BigInt(request.u32(offset + 4)) << 32n);
}

function lock(request: Request, wait: boolean): LockRequest {
  // OFFSET_MAX (2^63 - 1) means "to the end" and does not fit a number.
  const end = u64(request, 24);
  return {
    fh: request.u64(0),
    owner: u64(request, 8),
    start: request.u64(16),
    end: end > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(end),
    type: request.u32(32),
    pid: request.u32(36),
    flock: (request.u32(40) & LK_FLOCK) !== 0,
    wait,
  };
}

function forgetMany(fs: Required<FileSystem>, request: Request): void {
  const count = request.u32(0);
  // The length is the kernel's, the count inside is checked against it before anything is read.
  if (count > (request.bodyLength - 8) / 16) throw new ErrnoError(errno.EINVAL, 'fuse batch_forget');
  for (let i = 0; i < count; i++) fs.forget(request.u64(8 + i * 16), request.u64(16 + i * 16));
}

const table: readonly Operation[] = [
  op('LOOKUP', 1, 'lookup', (fs, q, r) => fs.lookup(q, q.name(0), r)),
  silent('FORGET', 8, 'forget', (fs, q) => fs.forget(q.nodeid, q.u64(0))),
  silent('BATCH_FORGET', 8, 'forget', forgetMany),
  op('GETATTR', 16, 'getattr', (fs, q, r) => fs.getattr(q, (q.u32(0) & FH_VALID) !== 0 ? q.u64(8) : undefined, r)),
  op('STATX', 24, 'statx', (fs, q, r) => fs.statx(q, r)),
  op('SETATTR', 88, 'setattr', (fs, q, r) =>
    fs.setattr(
      q,
      {
        valid: q.u32(0),
        fh: q.u64(8),
        size: q.u64(16),
        atimeSec: q.i64(32),
        mtimeSec: q.i64(40),
        atimeNsec: q.u32(56),
        mtimeNsec: q.u32(60),
        mode: q.u32(68),
        uid: q.u32(76),
        gid: q.u32(80),
      },
      r,
    ),
  ),
  op('READLINK', 0, 'readlink', (fs, q, r) => fs.readlink(q, r)),
  op('SYMLINK', 2, 'symlink', (fs, q, r) => fs.symlink(q, q.name(0), q.name(q.afterName(0)), r)),
  op('MKNOD', 17, 'mknod', (fs, q, r) => fs.mknod(q, q.name(16), q.u32(0), q.u32(4), q.u32(8), r)),
  op('MKDIR', 9, 'mkdir', (fs, q, r) => fs.mkdir(q, q.name(8), q.u32(0), q.u32(4), r)),
  op('UNLINK', 1, 'unlink', (fs, q, r) => fs.unlink(q, q.name(0), r)),
  op('RMDIR', 1, 'rmdir', (fs, q, r) => fs.rmdir(q, q.name(0), r)),
  op('RENAME', 10, 'rename', (fs, q, r) => fs.rename(q, q.name(8), q.u64(0), q.name(q.afterName(8)), 0, r)),
  op('RENAME2', 18, 'rename', (fs, q, r) => fs.rename(q, q.name(16), q.u64(0), q.name(q.afterName(16)), q.u32(8), r)),
  op('LINK', 9, 'link', (fs, q, r) => fs.link(q, q.u64(0), q.name(8), r)),
  op('OPEN', 8, 'open', (fs, q, r) => fs.open(q, q.u32(0), (q.u32(4) & OPEN_KILL_SUIDGID) !== 0, r)),
  op('CREATE', 17, 'create', (fs, q, r) => fs.create(q, q.name(16), q.u32(0), q.u32(4), q.u32(8), r)),
  op('TMPFILE', 16, 'tmpfile', (fs, q, r) => fs.tmpfile(q, q.u32(0), q.u32(4), q.u32(8), r)),
  op('READ', 24, 'read', (fs, q, r) => fs.read(q, q.u64(0), q.u64(8), q.u32(16), r)),
  op('WRITE', 40, 'write', (fs, q, r) => fs.write(q, q.u64(0), q.u64(8), q.data(40, q.u32(16)), q.u32(20), r)),
  op('FLUSH', 24, 'flush', (fs, q, r) => fs.flush(q, q.u64(0), u64(q, 16), r)),
  op('RELEASE', 24, 'release', (fs, q, r) => fs.release(q, q.u64(0), q.u32(8), r)),
  op('FSYNC', 16, 'fsync', (fs, q, r) => fs.fsync(q, q.u64(0), (q.u32(8) & 1) !== 0, r)),
  op('OPENDIR', 8, 'opendir', (fs, q, r) => fs.opendir(q, q.u32(0), r)),
  op('READDIR', 24, 'readdir', (fs, q, r) => fs.readdir(q, q.u64(0), q.u64(8), q.u32(16), r)),
  op('READDIRPLUS', 24, 'readdirplus', (fs, q, r) => fs.readdirplus(q, q.u64(0), q.u64(8), q.u32(16), r)),
  op('RELEASEDIR', 24, 'releasedir', (fs, q, r) => fs.releasedir(q, q.u64(0), q.u32(8), r)),
  op('FSYNCDIR', 16, 'fsyncdir', (fs, q, r) => fs.fsyncdir(q, q.u64(0), (q.u32(8) & 1) !== 0, r)),
  op('STATFS', 0, 'statfs', (fs, q, r) => fs.statfs(q, r)),
  op('SETXATTR', 9, 'setxattr', (fs, q, r) => {
    const at = q.longSetxattr ? 16 : 8;
    const kill = q.longSetxattr && (q.u32(8) & SETXATTR_ACL_KILL_SGID) !== 0;
    fs.setxattr(q, q.name(at), q.data(q.afterName(at), q.u32(0)), q.u32(4), kill, r);
  }),
  op('GETXATTR', 9, 'getxattr', (fs, q, r) => fs.getxattr(q, q.name(8), q.u32(0), r)),
  op('LISTXATTR', 8, 'listxattr', (fs, q, r) => fs.listxattr(q, q.u32(0), r)),
  op('REMOVEXATTR', 1, 'removexattr', (fs, q, r) => fs.removexattr(q, q.name(0), r)),
  op('ACCESS', 8, 'access', (fs, q, r) => fs.access(q, q.u32(0), r)),
  op('GETLK', 48, 'getlk', (fs, q, r) => fs.getlk(q, lock(q, false), r)),
  op('SETLK', 48, 'setlk', (fs, q, r) => fs.setlk(q, lock(q, false), r)),
  op('SETLKW', 48, 'setlk', (fs, q, r) => fs.setlk(q, lock(q, true), r)),
  op('IOCTL', 32, 'ioctl', (fs, q, r) => fs.ioctl(q, q.u64(0), q.u32(12), q.data(32, q.u32(24)), q.u32(28), r)),
  op('FALLOCATE', 32, 'fallocate', (fs, q, r) => fs.fallocate(q, q.u64(0), q.u64(8), q.u64(16), q.u32(24), r)),
  op('LSEEK', 24, 'lseek', (fs, q, r) => fs.lseek(q, q.u64(0), q.i64(8), q.u32(16), r)),
  op('COPY_FILE_RANGE', 56, 'copyFileRange', (fs, q, r) =>
    fs.copyFileRange(q, q.u64(0), q.u64(8), q.u64(16), q.u64(24), q.u64(32), q.u64(40), r),
  ),
  op('SYNCFS', 8, 'syncfs', (fs, q, r) => fs.syncfs(q, r)),
];

function op(
  name: keyof typeof OPCODE,
  minimum: number,
  method: keyof FileSystem,
  handle: Operation['handle'],
): Operation {
  return { name, opcode: OPCODE[name], minimum, method, handle };
}

function silent(
  name: keyof typeof OPCODE,
  minimum: number,
  method: keyof FileSystem,
  handle: Operation['handle'],
): Operation {
  return { name, opcode: OPCODE[name], minimum, method, handle, silent: true };
}

/** Operations by opcode. */
export const operations: readonly (Operation | undefined)[] = (() => {
  const byOpcode: (Operation | undefined)[] = Array.from({ length: 64 });
  for (const operation of table) {
    if (byOpcode[operation.opcode] !== undefined) throw new Error(`opcode ${operation.opcode} is listed twice`);
    byOpcode[operation.opcode] = operation;
  }
  return byOpcode;
})();

const names = new Map<number, string>(Object.entries(OPCODE).map(([name, opcode]) => [opcode, name]));

/** An opcode's name, for traces and counters. */
export function opcodeName(opcode: number): string {
  return names.get(opcode) ?? `OPCODE_${opcode}`;
}
