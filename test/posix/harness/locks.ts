/** Locks of both kinds; a failure throws ErrnoError. Without `wait` a lock that is held is EAGAIN. */
import { check, native } from '../../../packages/linux/dist/library.js';

const f = {
  flock: native('int flock(int fd, int operation)'),
  fcntl: native('int fcntl(int fd, int command, void *lock)'),
};

export const FLOCK = { SH: 1, EX: 2, NB: 4, UN: 8 } as const;
export const LOCK = { READ: 0, WRITE: 1, NONE: 2 } as const;

export function flock(fd: number, operation: number): void {
  check(f.flock(fd, operation), 'flock');
}

/** Commands of fcntl(2); OFD: the lock is the open file's, not the process's. */
export const F = { GETLK: 5, SETLK: 6, SETLKW: 7, OFD_GETLK: 36, OFD_SETLK: 37, OFD_SETLKW: 38 } as const;

/** struct flock of 64-bit Linux, of a range that is counted from the start; length 0 reaches to the end. */
export function lockBytes(type: number, start = 0, length = 0): Buffer {
  const bytes = Buffer.alloc(32);
  bytes.writeInt16LE(type, 0);
  bytes.writeBigInt64LE(BigInt(start), 8);
  bytes.writeBigInt64LE(BigInt(length), 16);
  return bytes;
}

/** Sets a lock of fcntl(2) on a range. */
export function setLock(fd: number, type: number, start = 0, length = 0, command: number = F.SETLK): void {
  check(f.fcntl(fd, command, lockBytes(type, start, length)), 'fcntl');
}

/** Who stands in the way of a lock: `undefined` when nobody does. */
export function getLock(
  fd: number,
  type: number,
  start = 0,
  length = 0,
): { type: number; pid: number; start: number; length: number } | undefined {
  const bytes = lockBytes(type, start, length);
  check(f.fcntl(fd, F.GETLK, bytes), 'fcntl');
  if (bytes.readInt16LE(0) === LOCK.NONE) return undefined;
  return {
    type: bytes.readInt16LE(0),
    start: Number(bytes.readBigInt64LE(8)),
    length: Number(bytes.readBigInt64LE(16)),
    pid: bytes.readInt32LE(24),
  };
}
