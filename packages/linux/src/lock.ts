import { check, native } from './library.js';
import { ErrnoError } from './error.js';
import { errno } from './errno.js';

const flockFunction = native('int flock(int fd, int operation)');

/** Operations of flock(2). */
export const LOCK = { SH: 1, EX: 2, NB: 4, UN: 8 } as const;

/** flock(2). Throws ErrnoError (EWOULDBLOCK with LOCK.NB when somebody else holds it). Without NB it blocks the thread. */
export function flock(fd: number, operation: number): void {
  for (;;) {
    try {
      check(flockFunction(fd, operation), 'flock');
      return;
    } catch (error) {
      if (!(error instanceof ErrnoError) || error.errno !== errno.EINTR) throw error;
    }
  }
}

/** Takes a lock without waiting: true when it was had, false when somebody else holds it. */
export function tryFlock(fd: number, operation: number): boolean {
  try {
    flock(fd, operation | LOCK.NB);
    return true;
  } catch (error) {
    if (error instanceof ErrnoError && error.errno === errno.EWOULDBLOCK) return false;
    throw error;
  }
}

const fcntlFunction = native('int fcntl(int fd, int cmd, ...)');
const F_GETLK = 5;
const F_WRLCK = 1;
const F_UNLCK = 2;

/**
 * Whether another process has a record lock (fcntl(2), POSIX) on any part of a file. Those of flock(2) are others, and do
 * not count. Beware: closing any descriptor of a file ends all record locks that the own process has on it.
 */
export function hasRecordLock(fd: number): boolean {
  // struct flock of 64-bit Linux: i16 type, i16 whence, i64 start, i64 length (0: to the end), i32 pid
  const lock = Buffer.alloc(32);
  lock.writeInt16LE(F_WRLCK, 0);
  check(fcntlFunction(fd, F_GETLK, 'void *', lock), 'fcntl');
  return lock.readInt16LE(0) !== F_UNLCK;
}
