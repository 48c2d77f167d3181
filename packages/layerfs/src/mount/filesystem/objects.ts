import { LRUCache } from 'lru-cache';
import { AT, AT_FDCWD, ErrnoError, O, adviseWillNeed, close, errno, fileSize, openat, statx } from '@layerfs/linux';
import type { Tree } from '../../core/tree/tree.js';
import { LONGEST_RANGE, ReadAhead } from './read-ahead.js';
import type { Verifier } from './verifier.js';

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
  readonly #blocks = new Map<number, number>();
  readonly #readAhead: ReadAhead;
  /** What was read ahead, until it is opened; the oldest first. */
  readonly #advised = new Map<number, Advised>();

  readonly #verifier: Verifier | undefined;

  /**
   * @param folder descriptor of the objects folder; owned by this from now on
   * @param verifier checks content when it is opened; not checked without one
   */
  constructor(folder: number, tree: Tree, report: ProblemListener, verifier?: Verifier) {
    this.#verifier = verifier;
    this.#folder = folder;
    this.#tree = tree;
    this.#report = report;
    this.#readAhead = new ReadAhead(tree.objectCount, (index) => this.#advise(index));
  }

  /**
   * A new descriptor for an object, which the caller closes.
   * @param size what the tree says of its content: an object of another length is damaged
   * @throws ErrnoError EIO for a missing or damaged object (reported); what open(2) gave otherwise (EMFILE)
   */
  open(index: number, size: number): number {
    const fd = this.openAny(index);
    this.#readAhead.opened(index);
    const problem = this.#problemOf(index, fd, size);
    if (problem === undefined) return fd;
    close(fd);
    throw this.#problem(index, problem);
  }

  #problemOf(index: number, fd: number, size: number): string | undefined {
    const found = fileSize(fd);
    if (found !== size) return `has ${String(found)} bytes, should have ${String(size)}`;
    if (this.#verifier === undefined) return undefined;
    const digest = this.#tree.digestAt(index);
    const hex = this.#verifier.digestOf(digest, fd);
    if (hex === digest) return undefined;
    return hex === undefined ? 'cannot be read' : `is damaged (its content has sha256 ${hex})`;
  }

  /** Whether content is verified when it is opened. */
  get verifies(): boolean {
    return this.#verifier !== undefined;
  }

  /** Opens and closes, for what that says of the content. @throws ErrnoError as {@link open} */
  check(index: number, size: number): void {
    close(this.open(index, size));
  }

  /**
   * Begins to verify content that takes long.
   * @param done called in the serving thread; {@link open} is quick then
   * @returns false when there is nothing to wait for
   */
  verifyLater(index: number, size: number, done: () => void): boolean {
    if (this.#verifier === undefined) return false;
    let fd: number;
    try {
      fd = this.openAny(index);
    } catch (error) {
      // Whoever opens it is told.
      if (error instanceof ErrnoError) return false;
      throw error;
    }
    try {
      return fileSize(fd) === size && this.#verifier.begin(this.#tree.digestAt(index), size, fd, done);
    } finally {
      close(fd);
    }
  }

  /** Blocks of 512 bytes that an object takes, holes left out; as many as its size says when it cannot be asked. */
  blocks(index: number, size: number): number {
    let blocks = this.#blocks.get(index);
    if (blocks === undefined) {
      try {
        ({ blocks } = statx(this.#folder, objectName(this.#tree.digestAt(index)), AT.SYMLINK_NOFOLLOW));
      } catch (error) {
        if (!(error instanceof ErrnoError)) throw error;
        blocks = Math.ceil(size / 512);
      }
      this.#blocks.set(index, blocks);
    }
    return blocks;
  }

  /** {@link open} of an object whatever its size. */
  openAny(index: number): number {
    const advised = this.#advised.get(index);
    if (advised !== undefined) {
      this.#advised.delete(index);
      if (performance.now() - advised.since < FRESH) return advised.fd;
      close(advised.fd);
    }
    try {
      return this.#open(index);
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      if (error.code === 'EMFILE' && this.#advised.size > 0) {
        this.rest();
        return this.openAny(index);
      }
      if (!MISSING.has(error.code)) throw error;
      throw this.#problem(index, `cannot be opened (${error.code})`);
    }
  }

  /** Has the kernel begin to read what will be wanted next, a little of it. @returns whether there is more */
  readAhead(): boolean {
    return this.#readAhead.step();
  }

  /** Whoever reads it is told when this fails. */
  #advise(index: number): void {
    if (this.#advised.has(index)) return;
    try {
      const fd = this.#open(index);
      this.#advised.set(index, { fd, since: performance.now() });
      adviseWillNeed(fd, 0, ADVISED);
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
    }
    if (this.#advised.size <= LONGEST_RANGE) return;
    const [[oldest, { fd }]] = this.#advised;
    this.#advised.delete(oldest);
    close(fd);
  }

  #open(index: number): number {
    return openat(this.#folder, objectName(this.#tree.digestAt(index)), O.RDONLY | O.CLOEXEC | O.NOFOLLOW);
  }

  /** Closes what was read ahead and nobody came for. */
  rest(): void {
    for (const { fd } of this.#advised.values()) close(fd);
    this.#advised.clear();
  }

  close(): void {
    this.rest();
    close(this.#folder);
  }

  #problem(index: number, problem: string): ErrnoError {
    if (!this.#reported.has(index)) {
      this.#reported.add(index);
      this.#report({ object: this.#tree.digestAt(index), problem });
    }
    return new ErrnoError(errno.EIO, 'open');
  }
}

/** Bytes of an object that are read ahead: beyond, the kernel does so itself. */
const ADVISED = 256 << 10;
/** For so long, in milliseconds, what was opened ahead is taken for what a name leads to: objects are replaced when they are repaired. */
const FRESH = 1000;

/** An object that was read ahead. */
interface Advised {
  readonly fd: number;
  /** When it was opened, in milliseconds. */
  readonly since: number;
}

const MISSING = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'EISDIR']);

/** Opens a plain folder for {@link ObjectFolder}. */
export function openFolder(path: string): number {
  return openat(AT_FDCWD, path, O.RDONLY | O.DIRECTORY | O.CLOEXEC);
}

/** Descriptors of objects by index, the most used kept open. */
export class ObjectReader {
  readonly #folder: ObjectFolder;
  readonly #open: LRUCache<number, number>;
  /** The last one that was asked for: reads of a large file come one after the other. */
  #last = -1;
  #lastFd = -1;

  /** @param limit at most so many descriptors */
  constructor(folder: ObjectFolder, limit: number) {
    this.#folder = folder;
    this.#open = new LRUCache({ max: limit, dispose: (fd) => close(fd) });
  }

  /**
   * A descriptor of an object, good until the next call.
   * @throws ErrnoError EIO when it is missing or damaged
   */
  descriptor(index: number, size: number): number {
    if (index === this.#last) return this.#lastFd;
    let fd = this.#open.get(index);
    if (fd === undefined) {
      fd = this.#folder.open(index, size);
      this.#open.set(index, fd);
    }
    // It is the one most lately used, and stays open until another one is asked for.
    this.#last = index;
    this.#lastFd = fd;
    return fd;
  }

  /** The folder that they are opened from. */
  get folder(): ObjectFolder {
    return this.#folder;
  }

  /** With the folder. */
  close(): void {
    this.#last = -1;
    this.#open.clear();
    this.#folder.close();
  }
}
