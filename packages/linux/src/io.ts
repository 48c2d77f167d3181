import { check, lastErrno, native } from './library.js';

const readFunction = native('int64_t read(int fd, void *buffer, size_t count)');
const writeFunction = native('int64_t write(int fd, void *buffer, size_t count)');
const preadFunction = native('int64_t pread(int fd, void *buffer, size_t count, int64_t offset)');
const dup2Function = native('int dup2(int from, int to)');
const closeFunction = native('int close(int fd)');
const fadviseFunction = native('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)');
const fcntlFunction = native('int fcntl(int fd, int command, long argument)');

/**
 * The calls of hot loops: they return the byte count or **minus errno** and never throw, so that `EAGAIN` costs no
 * exception. `buffer` is written or read from its start; pass a subarray for another place.
 */
export function readRaw(fd: number, buffer: Uint8Array, length: number): number {
  const n = readFunction(fd, buffer, length);
  return n < 0 ? -lastErrno() : n;
}

/** write(2) of the first `length` bytes; byte count or minus errno (see {@link readRaw}). */
export function writeRaw(fd: number, buffer: Uint8Array, length: number): number {
  const n = writeFunction(fd, buffer, length);
  return n < 0 ? -lastErrno() : n;
}

/** pread(2); byte count or minus errno (see {@link readRaw}). */
export function preadRaw(fd: number, buffer: Uint8Array, length: number, offset: number): number {
  const n = preadFunction(fd, buffer, length, offset);
  return n < 0 ? -lastErrno() : n;
}

/** close(2). Throws ErrnoError. */
export function close(fd: number): void {
  check(closeFunction(fd), 'close');
}

/** dup2(2). Throws ErrnoError. */
export function dup2(from: number, to: number): void {
  check(dup2Function(from, to), 'dup2');
}

const POSIX_FADV_WILLNEED = 3;

/** posix_fadvise(2) WILLNEED: the kernel begins to read that part into its cache. What it cannot do is left undone. */
export function adviseWillNeed(fd: number, offset: number, length: number): void {
  fadviseFunction(fd, offset, length, POSIX_FADV_WILLNEED);
}

const F_GETFL = 3;
const F_SETFL = 4;
const F_SETFD = 2;
const O_NONBLOCK = 0o4000;
const FD_CLOEXEC = 1;

/** Turns O_NONBLOCK of an open file description on or off. Throws ErrnoError. */
export function setNonBlocking(fd: number, on: boolean): void {
  const flags = check(fcntlFunction(fd, F_GETFL, 0), 'fcntl');
  check(fcntlFunction(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK), 'fcntl');
}

/** Whether a descriptor is closed by exec. Throws ErrnoError. */
export function setCloseOnExec(fd: number, on: boolean): void {
  check(fcntlFunction(fd, F_SETFD, on ? FD_CLOEXEC : 0), 'fcntl');
}
