/** System calls that only these tests need, through the same foreign function library as `@layerfs/linux`. */
import { createRequire } from 'node:module';
import { ErrnoError } from '@layerfs/linux';

interface Koffi {
  load(path: null): { func(prototype: string): (...args: unknown[]) => number };
  errno(): number;
}

// This package has no dependency on koffi of its own, so that it is always the one that the product uses.
const koffi = createRequire(import.meta.resolve('@layerfs/linux'))('koffi') as Koffi;
const libc = koffi.load(null);
const truncateFunction = libc.func('int truncate(const void *path, int64_t size)');
const lseekFunction = libc.func('int64_t lseek(int fd, int64_t offset, int whence)');
const getdentsFunction = libc.func('int64_t getdents64(int fd, void *buffer, size_t size)');

const setresFunction = libc.func('long syscall(long number, long real, long effective, long saved)');
/** setresuid and setresgid. */
const [SETRESUID, SETRESGID] = process.arch === 'arm64' ? [147, 149] : [117, 119];

function check(result: number, syscall: string): number {
  if (result === -1) throw new ErrnoError(koffi.errno(), syscall);
  return result;
}

/** truncate(2): unlike Node's it opens nothing. */
export function truncate(path: Uint8Array, size: number): void {
  check(truncateFunction(Buffer.concat([path, Buffer.alloc(1)]), size), 'truncate');
}

/** lseek(2) with SEEK_SET. */
export function seekTo(fd: number, offset: number): void {
  check(lseekFunction(fd, offset, 0), 'lseek');
}

const large = Buffer.alloc(16384);

/** Type number and name, as getdents64(2) gives them. */
export type Dirent = readonly [type: number, name: string];

/** The next entries of an open folder; none at its end. */
export function readSomeEntries(fd: number, buffer: Buffer): Dirent[] {
  const entries: Dirent[] = [];
  const n = check(getdentsFunction(fd, buffer, buffer.length), 'getdents64');
  for (let at = 0; at < n; at += buffer.readUInt16LE(at + 16)) {
    const end = buffer.indexOf(0, at + 19);
    entries.push([buffer[at + 18], buffer.toString('latin1', at + 19, end)]);
  }
  return entries;
}

/** All entries that an open folder gives when it is read from its start. */
export function readOpenFolder(fd: number): Dirent[] {
  seekTo(fd, 0);
  const entries: Dirent[] = [];
  for (;;) {
    const some = readSomeEntries(fd, large);
    if (some.length === 0) return entries;
    entries.push(...some);
  }
}

/**
 * Takes on the effective user and the group of the same number, in this thread alone: libc's and Node's functions stop all
 * threads of the process for it, which took longer than all operations together.
 */
export function become(user: number): void {
  if (user === 0) check(setresFunction(SETRESUID, -1, user, -1), 'setresuid');
  check(setresFunction(SETRESGID, -1, user, -1), 'setresgid');
  if (user !== 0) check(setresFunction(SETRESUID, -1, user, -1), 'setresuid');
}
