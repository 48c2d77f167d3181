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
