/**
 * Access to the folders of a stack, each by descriptors below its root: no symbolic link is followed, and no path is
 * too long, because it is walked name by name.
 */
import { readFileSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import {
  AT,
  AT_FDCWD,
  ErrnoError,
  O,
  StatView,
  close,
  errno,
  getXattr,
  listXattrs,
  openReadOnlyClone,
  openat,
  readDirents,
  readlinkat,
  type DirentVisitor,
  type Path,
} from '@layerfs/linux';

/** A real folder of one layer. The root of a layer has no parent. */
export interface Part {
  /** 0 is the topmost layer. */
  readonly layer: number;
  readonly parent: Part | undefined;
  /** Bytes as latin1; the layer's own folder has no name. */
  readonly name: string;
  /** Whiteouts in it may be files with attributes: its `overlay.opaque` is `x`. */
  readonly xwhiteouts: boolean;
  /** Whether there are files in it that hide others by their name; undefined until it was listed. */
  markers: boolean | undefined;
}

const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;
/** Two names and a NUL fit; the kernel finds nothing under longer ones. */
const MAX_PATH = 1024;
const MISSING = new Set<number>([-errno.ENOENT, -errno.ENAMETOOLONG]);
/** Least and most folders kept open; what lies between depends on the limit of the process. */
const FEWEST = 64;
const MOST = 4096;

/** The soft limit on open files, or a low guess. */
function openFilesLimit(): number {
  const row = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  if (row === 'unlimited') return Number.MAX_SAFE_INTEGER;
  return row === undefined ? 1024 : Number(row);
}

/** An open stack of folders. */
export class Layers {
  /** Their root folders, topmost first. */
  readonly roots: readonly Part[];
  /** What the last {@link stat} found. */
  readonly found = new StatView();
  readonly #rootFds: number[] = [];
  readonly #open: LRUCache<Part, number>;
  /** What {@link fd} was asked last, as folders are gone through name by name. */
  #last: Part | undefined;
  #lastFd = -1;
  readonly #name = Buffer.alloc(MAX_PATH);
  readonly #self = new TextEncoder().encode('/proc/self/fd/');

  /**
   * Opens nothing but the roots.
   * @param keepOpen at most so many folders; by default a part of what the process may open
   * @throws ErrnoError naming the folder that cannot be opened
   */
  constructor(paths: readonly Path[], keepOpen = defaultKeepOpen(paths.length)) {
    this.#open = new LRUCache({ max: keepOpen, dispose: (fd, part) => this.#dropped(fd, part) });
    try {
      let mayClone = true;
      for (const path of paths) {
        // Not having the right is the same for all; asking hundreds of times is not free.
        const clone: number | undefined = mayClone ? cloneOrNot(path) : undefined;
        mayClone = clone !== undefined;
        this.#rootFds.push(clone ?? openat(AT_FDCWD, path, O.PATH | O.DIRECTORY));
      }
    } catch (error) {
      this.close();
      throw error;
    }
    this.roots = paths.map((_, layer) => ({
      layer,
      parent: undefined,
      name: '',
      xwhiteouts: false,
      markers: undefined,
    }));
  }

  /** A descriptor for *at calls, good until the next call. Walks from the closest folder that is open. */
  fd(part: Part): number {
    if (part.parent === undefined) return this.#rootFds[part.layer];
    if (part === this.#last) return this.#lastFd;
    const fd = this.#open.get(part) ?? this.#walk(part);
    this.#last = part;
    this.#lastFd = fd;
    return fd;
  }

  /** Opens a folder, which is no root, and those above it that are not open. */
  #walk(part: Part): number {
    const missing: Part[] = [];
    let above = part;
    let fd: number | undefined;
    while (fd === undefined) {
      missing.push(above);
      // A root is always open, so this ends below it.
      above = above.parent!;
      fd = above.parent === undefined ? this.#rootFds[above.layer] : this.#open.get(above);
    }
    for (const next of missing.toReversed()) {
      fd = openat(fd, bytes(next.name), O.PATH | O.DIRECTORY | O.NOFOLLOW);
      this.#open.set(next, fd);
    }
    return fd;
  }

  /** Fills {@link found} with what `name` in a folder is; false where there is none. An empty name: the folder. */
  stat(part: Part, name: string): boolean {
    const flags = name === '' ? AT.SYMLINK_NOFOLLOW | AT.EMPTY_PATH : AT.SYMLINK_NOFOLLOW;
    // One buffer for all: this is called for every name there is.
    const length = this.#name.write(name, 'latin1');
    if (length < name.length || length === MAX_PATH) return false;
    this.#name[length] = 0;
    const result = this.found.at(this.fd(part), this.#name, flags);
    if (result === 0) return true;
    if (MISSING.has(result)) return false;
    throw new ErrnoError(-result, 'statx', bytes(name));
  }

  /** Whether {@link found} is a whiteout as a device. */
  foundWhiteout(): boolean {
    const { found } = this;
    return (found.mode & S_IFMT) === S_IFCHR && found.rdevMajor === 0 && found.rdevMinor === 0;
  }

  list(part: Part, visit: DirentVisitor): void {
    const { parent } = part;
    if (parent !== undefined && !this.#open.has(part)) {
      // What its names are read by does for what is asked of them as well: one call to open it, none to close it.
      const fd = openat(this.fd(parent), bytes(part.name), O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
      this.#open.set(part, fd);
      readDirents(fd, visit);
      return;
    }
    const fd = openat(this.fd(part), '.', O.RDONLY | O.DIRECTORY);
    try {
      readDirents(fd, visit);
    } finally {
      close(fd);
    }
  }

  readlink(part: Part, name: string): Uint8Array {
    return readlinkat(this.fd(part), bytes(name));
  }

  /** Opens a file for reading; the caller closes it. */
  open(part: Part, name: string): number {
    return openat(this.fd(part), bytes(name), O.RDONLY | O.NOFOLLOW);
  }

  /** Names of all extended attributes; none where the filesystem has no such thing. An empty name: the folder. */
  listXattrs(part: Part, name: string): string[] {
    return withoutSupport(() => listXattrs(this.#path(part, name))) ?? [];
  }

  xattr(part: Part, name: string, attribute: string): Uint8Array | undefined {
    return withoutSupport(() => getXattr(this.#path(part, name), attribute));
  }

  #dropped(fd: number, part: Part): void {
    if (part === this.#last) this.#last = undefined;
    close(fd);
  }

  close(): void {
    this.#open.clear();
    for (const fd of this.#rootFds.splice(0)) close(fd);
  }

  /** There is no getxattrat before Linux 6.13, and a descriptor made with O_PATH has no attributes. */
  #path(part: Part, name: string): Uint8Array {
    const rest = bytes(`${String(this.fd(part))}/${name === '' ? '.' : name}`);
    const path = new Uint8Array(this.#self.length + rest.length);
    path.set(this.#self);
    path.set(rest, this.#self.length);
    return path;
  }
}

function defaultKeepOpen(layers: number): number {
  return Math.max(FEWEST, Math.min(MOST, Math.floor((openFilesLimit() - layers) / 4)));
}

function cloneOrNot(path: Path): number | undefined {
  try {
    return openReadOnlyClone(path);
  } catch (error) {
    // Without the right or on an old kernel; what is wrong with the path itself, a plain open says better.
    if (error instanceof ErrnoError) return undefined;
    throw error;
  }
}

function withoutSupport<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof ErrnoError && (error.errno === errno.ENOTSUP || error.errno === errno.EPERM)) return undefined;
    throw error;
  }
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}
