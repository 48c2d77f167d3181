/** Less common ways to move content; a failure throws ErrnoError. */
import { check, native } from '../../../packages/linux/dist/library.js';

const f = {
  sendfile: native('int64_t sendfile(int to, int from, void *offset, size_t length)'),
  splice: native(
    'int64_t splice(int from, void *fromOffset, int to, void *toOffset, size_t length, unsigned int flags)',
  ),
  pipe: native('int pipe(void *fds)'),
  fadvise: native('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)'),
  readahead: native('int64_t readahead(int fd, int64_t offset, size_t length)'),
  syncFileRange: native('int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)'),
  fcntl: native('int fcntl(int fd, int command, long argument)'),
  dup: native('int dup(int fd)'),
};

/** From the position of `from` to that of `to`; returns the bytes sent. */
export function sendfile(to: number, from: number, length: number): number {
  return check(f.sendfile(to, from, null, length), 'sendfile');
}

/** Between a pipe and a file, at the file's position. */
export function splice(from: number, to: number, length: number): number {
  return check(f.splice(from, null, to, null, length, 0), 'splice');
}

/** A pipe: the end to read from, and the end to write to. */
export function pipe(): [number, number] {
  const fds = Buffer.alloc(8);
  check(f.pipe(fds), 'pipe');
  return [fds.readInt32LE(0), fds.readInt32LE(4)];
}

export const ADVICE = { NORMAL: 0, RANDOM: 1, SEQUENTIAL: 2, WILLNEED: 3, DONTNEED: 4, NOREUSE: 5 } as const;

/** Returns the errno itself, 0 for success. */
export function fadvise(fd: number, advice: number): number {
  return f.fadvise(fd, 0, 0, advice);
}

export function readahead(fd: number, offset: number, length: number): void {
  check(f.readahead(fd, offset, length), 'readahead');
}

/** sync_file_range(2), which waits before, writes, and waits after. */
export function syncFileRange(fd: number, offset: number, length: number): void {
  check(f.syncFileRange(fd, offset, length, 7), 'sync_file_range');
}

/** Status flags of an open file, O_APPEND among them. */
export function getStatusFlags(fd: number): number {
  return check(f.fcntl(fd, 3, 0), 'fcntl');
}

export function setStatusFlags(fd: number, flags: number): void {
  check(f.fcntl(fd, 4, flags), 'fcntl');
}

export function dup(fd: number): number {
  return check(f.dup(fd), 'dup');
}
