import { closeSync, fstatSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import { AT_FDCWD, ErrnoError, O, errno, openat, preadRaw } from '@layerfs/linux';
import type { Tree } from '../../core/tree/tree.js';

/** Something an operator should know of: content that cannot be read. */
export interface ObjectProblem {
  /** sha256, 64 hex digits. */
  readonly object: string;
  /** What is wrong, a sentence. */
  readonly problem: string;
}

/** Told of each problem; an object with a problem is reported once. */
export type ProblemListener = (problem: ObjectProblem) => void;

/** Where an object lies below the objects folder: `ab/cdef…`. */
export function objectName(digest: string): string {
  return `${digest.slice(0, 2)}/${digest.slice(2)}`;
}

/**
 * Opens objects of a tree by index, for reading only, below one folder: a plain folder, or its detached
 * read-only view ({@link openReadOnlyClone}) which the kernel, too, can open nothing for writing through.
 */
export class ObjectFolder {
  readonly #folder: number;
  readonly #tree: Tree;
  readonly #report: ProblemListener;
  readonly #reported = new Set<number>();

  /** @param folder descriptor of the objects folder; owned by this from now on */
  constructor(folder: number, tree: Tree, report: ProblemListener) {
    this.#folder = folder;
    this.#tree = tree;
    this.#report = report;
  }

  /**
   * A new descriptor for an object, which the caller closes.
   * @param size what the tree says of its content: an object of another length is damaged
   * @throws ErrnoError EIO for a missing or damaged object (reported); what open(2) gave otherwise (EMFILE)
   */
  open(index: number, size: number): number {
    const name = objectName(this.#tree.digestAt(index));
    let fd: number;
    try {
      fd = openat(this.#folder, name, O.RDONLY | O.CLOEXEC | O.NOFOLLOW);
    } catch (error) {
      if (!(error instanceof ErrnoError) || !MISSING.has(error.code)) throw error;
      throw this.#problem(index, `cannot be opened (${error.code})`);
    }
    const found = fstatSync(fd).size;
    if (found === size) return fd;
    closeSync(fd);
    throw this.#problem(index, `has ${String(found)} bytes, should have ${String(size)}`);
  }

  close(): void {
    closeSync(this.#folder);
  }

  #problem(index: number, problem: string): ErrnoError {
    if (!this.#reported.has(index)) {
      this.#reported.add(index);
      this.#report({ object: this.#tree.digestAt(index), problem });
    }
    return new ErrnoError(errno.EIO, 'open');
  }
}

const MISSING = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'EISDIR']);

/** Opens a plain folder for {@link ObjectFolder}. */
export function openFolder(path: string): number {
  return openat(AT_FDCWD, path, O.RDONLY | O.DIRECTORY | O.CLOEXEC);
}

/** Reads objects by index through descriptors that are kept open while they are used a lot. */
export class ObjectReader {
  readonly #folder: ObjectFolder;
  readonly #open: LRUCache<number, number>;

  /** @param limit at most so many descriptors */
  constructor(folder: ObjectFolder, limit: number) {
    this.#folder = folder;
    this.#open = new LRUCache({ max: limit, dispose: (fd) => closeSync(fd) });
  }

  /**
   * Fills `target` from `offset` of the object.
   * @returns bytes read: less than asked for only at the end
   * @throws ErrnoError EIO, or what read(2) gave
   */
  read(index: number, size: number, offset: number, target: Uint8Array): number {
    const want = Math.min(target.length, size - offset);
    if (want <= 0) return 0;
    let fd = this.#open.get(index);
    if (fd === undefined) {
      fd = this.#folder.open(index, size);
      this.#open.set(index, fd);
    }
    for (let done = 0; ;) {
      const n = preadRaw(fd, done === 0 ? target : target.subarray(done), want - done, offset + done);
      if (n < 0) throw new ErrnoError(-n, 'pread');
      // Shorter than at open: somebody cut the object.
      if (n === 0) throw new ErrnoError(errno.EIO, 'pread');
      done += n;
      if (done === want) return want;
    }
  }

  close(): void {
    this.#open.clear();
  }
}
