import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { copyFileRange, ErrnoError, ficlone, seekData, seekHole } from '@layerfs/linux';
import { LayerfsError } from '../../core/error.js';
import { isErrno } from '../errors.js';

const CHUNK = 1 << 20;

/**
 * Copies an object into an empty file: by sharing its blocks where the filesystem can, else range by range, holes left out.
 * @throws LayerfsError corrupt when the object is missing or has another size
 */
export function copyObject(path: string, to: number, size: number): void {
  let from: number;
  try {
    from = openSync(path, 'r');
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    throw new LayerfsError('corrupt', `the store is damaged: object ${path} is missing`, { cause: error });
  }
  try {
    const stats = fstatSync(from);
    if (stats.size !== size) {
      throw new LayerfsError(
        'corrupt',
        `the store is damaged: object ${path} has ${stats.size} bytes instead of ${size}`,
      );
    }
    // Small files are not worth the question.
    if (size > 65536 && clone(to, from)) return;
    if (stats.blocks * 512 >= size) {
      if (size <= 65536 || !kernelCopy(from, to, size)) copyRange(from, to, 0, size);
    } else {
      ftruncateSync(to, size);
      for (let at = seekData(from, 0); at !== undefined && at < size;) {
        const end = Math.min(seekHole(from, at) ?? size, size);
        copyRange(from, to, at, end);
        at = seekData(from, end);
      }
    }
  } finally {
    closeSync(from);
  }
}

let canClone = true;

function clone(to: number, from: number): boolean {
  if (!canClone) return false;
  try {
    ficlone(to, from);
    return true;
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    // What this filesystem cannot do for one file it cannot do for the next.
    if (isErrno(error, 'EOPNOTSUPP', 'ENOTSUP', 'EXDEV')) canClone = false;
    return false;
  }
}

function copyRange(from: number, to: number, start: number, end: number): void {
  const buffer = scratch(Math.min(CHUNK, end - start));
  for (let at = start; at < end;) {
    const n = readSync(from, buffer, 0, Math.min(buffer.length, end - at), at);
    if (n === 0) throw new LayerfsError('corrupt', 'the store is damaged: an object became shorter');
    for (let done = 0; done < n;) done += writeSync(to, buffer, done, n - done, at + done);
    at += n;
  }
}

/** copy_file_range from the beginning; both files stand there. @returns false when the kernel cannot between these two */
function kernelCopy(from: number, to: number, length: number): boolean {
  for (let done = 0; done < length;) {
    let n: number;
    try {
      n = copyFileRange(from, to, length - done);
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      if (done === 0 && isErrno(error, 'EXDEV', 'EOPNOTSUPP', 'ENOTSUP', 'EINVAL', 'ENOSYS')) return false;
      throw error;
    }
    if (n === 0) return false;
    done += n;
  }
  return true;
}

let shared: Buffer | undefined;

function scratch(length: number): Buffer {
  if (shared === undefined || shared.length < length) shared = Buffer.allocUnsafe(Math.max(length, 65536));
  return shared.subarray(0, length);
}
