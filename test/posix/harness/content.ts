/** System calls on the content of open files; a failure throws ErrnoError. */
import { check, cPath, native, type Path } from '../../../packages/linux/dist/library.js';
import { O, close, open } from './calls.js';

const f = {
  read: native('int64_t read(int fd, void *buffer, size_t count)'),
  write: native('int64_t write(int fd, const void *buffer, size_t count)'),
  pread: native('int64_t pread(int fd, void *buffer, size_t count, int64_t offset)'),
  pwrite: native('int64_t pwrite(int fd, const void *buffer, size_t count, int64_t offset)'),
  lseek: native('int64_t lseek(int fd, int64_t offset, int whence)'),
  truncate: native('int truncate(const void *path, int64_t length)'),
  ftruncate: native('int ftruncate(int fd, int64_t length)'),
  fallocate: native('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
  copyFileRange: native(
    'int64_t copy_file_range(int from, void *fromOffset, int to, void *toOffset, size_t length, unsigned int flags)',
  ),
  fsync: native('int fsync(int fd)'),
  fdatasync: native('int fdatasync(int fd)'),
  mmap: native('int64_t mmap(uint64_t address, size_t length, int protection, int flags, int fd, int64_t offset)'),
  munmap: native('int munmap(uint64_t address, size_t length)'),
  msync: native('int msync(uint64_t address, size_t length, int flags)'),
  // The same function with the address on either side: memory that is not JavaScript's is only an integer here.
  copyTo: native('uint64_t memcpy(uint64_t to, const void *from, size_t length)'),
  copyFrom: native('uint64_t memcpy(void *to, uint64_t from, size_t length)'),
};

export const SEEK = { SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 } as const;
export const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2, COLLAPSE_RANGE: 8, ZERO_RANGE: 16, INSERT_RANGE: 32 } as const;

export function read(fd: number, length: number): string {
  const buffer = Buffer.alloc(length);
  return buffer.toString('latin1', 0, check(f.read(fd, buffer, length), 'read'));
}

export function pread(fd: number, length: number, offset: number): string {
  const buffer = Buffer.alloc(length);
  return buffer.toString('latin1', 0, check(f.pread(fd, buffer, length, offset), 'pread'));
}

export function write(fd: number, data: string): number {
  return check(f.write(fd, Buffer.from(data, 'latin1'), data.length), 'write');
}

export function pwrite(fd: number, data: string, offset: number): number {
  return check(f.pwrite(fd, Buffer.from(data, 'latin1'), data.length, offset), 'pwrite');
}

/** pread into, and pwrite from, memory of the caller's choice: O_DIRECT wants it aligned. */
export function preadInto(fd: number, memory: Uint8Array, length: number, offset: number): number {
  return check(f.pread(fd, memory, length, offset), 'pread');
}

export function pwriteFrom(fd: number, memory: Uint8Array, length: number, offset: number): number {
  return check(f.pwrite(fd, memory, length, offset), 'pwrite');
}

export function lseek(fd: number, offset: number, whence: number): number {
  return check(f.lseek(fd, offset, whence), 'lseek');
}

export function truncate(path: Path, length: number): void {
  check(f.truncate(cPath(path), length), 'truncate', path);
}

export function ftruncate(fd: number, length: number): void {
  check(f.ftruncate(fd, length), 'ftruncate');
}

export function fallocate(fd: number, mode: number, offset: number, length: number): void {
  check(f.fallocate(fd, mode, offset, length), 'fallocate');
}

function offsetCell(offset: number | undefined): Uint8Array | null {
  return offset === undefined ? null : new Uint8Array(new BigInt64Array([BigInt(offset)]).buffer);
}

/** copy_file_range(2); without an offset it is the position of the descriptor, which then moves. */
export function copyFileRange(
  from: number,
  to: number,
  length: number,
  fromOffset?: number,
  toOffset?: number,
  flags = 0,
): number {
  const result = f.copyFileRange(from, offsetCell(fromOffset), to, offsetCell(toOffset), length, flags);
  return check(result, 'copy_file_range');
}

export function fsync(fd: number): void {
  check(f.fsync(fd), 'fsync');
}

export function fdatasync(fd: number): void {
  check(f.fdatasync(fd), 'fdatasync');
}

export const PROT = { READ: 1, WRITE: 2 } as const;
export const MAP = { SHARED: 1, PRIVATE: 2 } as const;

/** A mapping of a file. Touching a page behind the end of the file would kill this process. */
export class Mapping {
  readonly #address: number;
  readonly #length: number;

  constructor(fd: number, length: number, protection: number, flags: number, offset = 0) {
    this.#address = check(f.mmap(0, length, protection, flags, fd, offset), 'mmap');
    this.#length = length;
  }

  read(at: number, length: number): string {
    const buffer = Buffer.alloc(length);
    f.copyFrom(buffer, this.#address + at, length);
    return buffer.toString('latin1');
  }

  write(at: number, data: string): void {
    f.copyTo(this.#address + at, Buffer.from(data, 'latin1'), data.length);
  }

  /** msync with MS_SYNC. */
  sync(): void {
    check(f.msync(this.#address, this.#length, 4), 'msync');
  }

  unmap(): void {
    check(f.munmap(this.#address, this.#length), 'munmap');
  }
}

/** The whole content, by a descriptor of its own. */
export function readFile(path: Path): string {
  const fd = open(path, O.RDONLY);
  try {
    let all = '';
    for (;;) {
      const some = read(fd, 65536);
      if (some === '') return all;
      all += some;
    }
  } finally {
    close(fd);
  }
}

/** Writes `data` into a file that is there, from its start, cutting nothing. */
export function overwrite(path: Path, data: string, flags: number = O.WRONLY): void {
  const fd = open(path, flags);
  try {
    write(fd, data);
  } finally {
    close(fd);
  }
}
