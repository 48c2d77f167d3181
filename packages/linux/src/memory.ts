import koffi from 'koffi';
import { check, lastErrno, native } from './library.js';
import { ErrnoError } from './error.js';

const libc = koffi.load(null);
let mmapFunction: ((...args: unknown[]) => number | bigint) | undefined;
const munmapFunction = native('int munmap(uintptr_t address, size_t length)');
const madviseFunction = native('int madvise(uintptr_t address, size_t length, int advice)');

/** A file in memory, read-only: pages are read when touched and shared with every process that maps it. */
export interface MappedFile {
  readonly buffer: ArrayBuffer;
  /** Address of the first byte, for {@link madvise}. */
  readonly address: bigint;
  /** Ends the mapping. The buffer must not be touched afterwards. */
  unmap(): void;
}

const PROT_READ = 1;
const MAP_SHARED = 1;

/** mmap(2), PROT_READ and MAP_SHARED, of the first `length` bytes of a file. Throws ErrnoError. */
export function mapFile(fd: number, length: number): MappedFile {
  mmapFunction ??= libc.func(
    'uintptr_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)',
  ) as unknown as (...args: unknown[]) => number | bigint;
  const address = BigInt.asUintN(64, BigInt(mmapFunction(0, length, PROT_READ, MAP_SHARED, fd, 0)));
  if (address === 0xffffffffffffffffn) throw new ErrnoError(lastErrno(), 'mmap');
  const buffer = koffi.view(address, length);
  return {
    buffer,
    address,
    unmap() {
      check(munmapFunction(address, length), 'munmap');
    },
  };
}

/** Memory that begins at a multiple of `alignment` (a power of two), as O_DIRECT asks. Not zeroed. */
export function alignedBuffer(length: number, alignment: number): Buffer {
  const buffer = Buffer.allocUnsafeSlow(length + alignment);
  const misfit = Number(koffi.address(buffer) & BigInt(alignment - 1));
  return buffer.subarray(alignment - misfit, alignment - misfit + length);
}

/** Advice of madvise(2). */
export const MADV = { RANDOM: 1, SEQUENTIAL: 2, WILLNEED: 3, DONTNEED: 4, PAGEOUT: 21 } as const;

/** madvise(2) over an address range of this process. Throws ErrnoError. */
export function madvise(address: bigint, length: number, advice: number): void {
  check(madviseFunction(address, length, advice), 'madvise');
}
