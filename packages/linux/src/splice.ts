import { check, lastErrno, native } from './library.js';

const pipeFunction = native('int pipe2(void *fds, int flags)');
const spliceFunction = native(
  'int64_t splice(int from, void *fromOffset, int to, void *toOffset, size_t length, unsigned int flags)',
);
const fcntlFunction = native('int fcntl(int fd, int command, long argument)');

const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const F_SETPIPE_SZ = 1031;

/** pipe2(2), non-blocking, close-on-exec: the end to read from and the end to write to. Throws ErrnoError. */
export function pipe(): [number, number] {
  const fds = new Int32Array(2);
  check(pipeFunction(fds, O_CLOEXEC | O_NONBLOCK), 'pipe2');
  return [fds[0], fds[1]];
}

/**
 * Sets how many bytes a pipe holds. Returns how many it does now: at least as many as asked for.
 * Throws ErrnoError (EPERM: more than fs.pipe-max-size, or this user has too much in pipes already).
 */
export function setPipeSize(fd: number, bytes: number): number {
  return check(fcntlFunction(fd, F_SETPIPE_SZ, bytes), 'fcntl');
}

// One place for all: the call is synchronous.
const offsetWords = new Uint32Array(2);

/**
 * splice(2): moves up to `length` bytes from one descriptor to another, one of which is a pipe, inside the kernel. Byte
 * count or **minus errno**, as {@link readRaw}. Pages of a file stay in its cache: they are not given away (no SPLICE_F_MOVE).
 * @param offset where to read when `from` is a file; undefined for a pipe
 */
export function spliceRaw(from: number, offset: number | undefined, to: number, length: number): number {
  let at: Uint32Array | null = null;
  if (offset !== undefined) {
    at = offsetWords;
    at[0] = offset >>> 0;
    at[1] = Math.floor(offset / 0x1_0000_0000);
  }
  const n = spliceFunction(from, at, to, null, length, 0);
  return n < 0 ? -lastErrno() : n;
}
