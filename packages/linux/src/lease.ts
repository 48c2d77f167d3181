import { check, lastErrno, native } from './library.js';
import { errno } from './errno.js';
import { ErrnoError } from './error.js';

const fcntl = native('int fcntl(int fd, int command, long argument)');

const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_WRLCK = 1;
const F_UNLCK = 2;
// Whose default is to be ignored: that of a broken lease would end the process.
const SIGURG = 23;

/**
 * Whether anybody but this descriptor has a file open, in whatever process, mount namespace or part of the kernel: a mounted image and
 * a loop device keep theirs open. Asked by a write lease (fcntl(2), F_SETLEASE), which is given back at once.
 * @param fd open for reading, of a file that is this user's
 * @returns undefined where leases cannot be had, and so nothing is known
 */
export function isOpenElsewhere(fd: number): boolean | undefined {
  check(fcntl(fd, F_SETSIG, SIGURG), 'fcntl F_SETSIG');
  if (fcntl(fd, F_SETLEASE, F_WRLCK) === -1) {
    const failure = lastErrno();
    if (failure === errno.EAGAIN) return true;
    if (failure === errno.EINVAL || failure === errno.EACCES || failure === errno.ENOLCK) return undefined;
    throw new ErrnoError(failure, 'fcntl F_SETLEASE');
  }
  check(fcntl(fd, F_SETLEASE, F_UNLCK), 'fcntl F_SETLEASE');
  return false;
}
