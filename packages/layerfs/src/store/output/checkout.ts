/**
 * Checkout: an image as plain files. Everything is made relative to descriptors of folders that were made here, and
 * nothing that exists is ever followed or replaced, so no link, in the image or put there meanwhile, leads outside.
 */
import { fchmodSync, mkdirSync, openSync, readdirSync, rmdirSync } from 'node:fs';
import {
  AT,
  close,
  ErrnoError,
  fchmodat,
  fchownat,
  linkat,
  makedev,
  mkdirat,
  mknodat,
  O,
  openat,
  openat2,
  RESOLVE,
  setXattr,
  symlinkat,
  utimensat,
} from '@layerfs/linux';
import { latin1Bytes, printable } from '../../core/bytes.js';
import { LayerfsError } from '../../core/error.js';
import { ROOT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../../core/tree/format.js';
import type { Tree } from '../../core/tree/tree.js';
import { checkAborted, isErrno } from '../errors.js';
import type { StorePaths } from '../paths.js';
import { copyObject } from './copy-object.js';
import { emptyFolder } from './empty-folder.js';
import { Notes } from './notes.js';

/** Options of a checkout. */
export interface CheckoutOptions {
  readonly onProgress?: (event: CheckoutProgress) => void;
  readonly signal?: AbortSignal;
}

/** How far a checkout is. */
export interface CheckoutProgress {
  readonly kind: 'checkout';
  readonly entries: number;
  /** Bytes of content. */
  readonly bytes: number;
  /** Inodes of the image. */
  readonly of: number;
}

/** What a checkout wrote. `notes` say what could not be kept, and of how many entries. */
export interface CheckoutResult {
  readonly entries: number;
  readonly bytes: number;
  readonly notes: readonly string[];
}

/** Entries between two progress events and turns of the event loop. */
const BREATH = 256;

/**
 * Writes a tree to a folder that is new or empty.
 * @throws LayerfsError already-exists when it is not empty; aborted: then nothing is left of it. What was written before
 * another failure stays, as far as it came.
 */
export async function checkoutTree(
  tree: Tree,
  paths: StorePaths,
  folder: string,
  options: CheckoutOptions,
): Promise<CheckoutResult> {
  const made = prepareFolder(folder);
  const fd = openSync(folder, O.RDONLY | O.DIRECTORY);
  const checkout = new Checkout(tree, paths, fd, options);
  try {
    await checkout.folder(ROOT, fd, '');
    checkout.attributes(ROOT, fd, undefined, '');
    return checkout.result();
  } catch (error) {
    if (options.signal?.aborted === true) emptyFolder(fd);
    if (made && (checkout.entries === 0 || options.signal?.aborted === true)) rmdirSync(folder);
    throw error;
  } finally {
    close(fd);
  }
}

class Checkout {
  entries = 0;
  #bytes = 0;
  readonly #tree: Tree;
  readonly #paths: StorePaths;
  readonly #root: number;
  readonly #options: CheckoutOptions;
  readonly #isRoot = process.geteuid?.() === 0;
  readonly #notes = new Notes();
  /** Where an inode with several names was written first. */
  readonly #links = new Map<number, string>();

  constructor(tree: Tree, paths: StorePaths, root: number, options: CheckoutOptions) {
    this.#tree = tree;
    this.#paths = paths;
    this.#root = root;
    this.#options = options;
  }

  result(): CheckoutResult {
    return { entries: this.entries, bytes: this.#bytes, notes: this.#notes.lines() };
  }

  /** Writes what is in a folder. Depth of recursion is bounded by PATH_MAX: a tar's paths are. */
  async folder(ino: number, fd: number, path: string): Promise<void> {
    const tree = this.#tree;
    const first = tree.firstDirent(ino);
    for (let d = first; d < first + tree.childCount(ino); d++) {
      const name = tree.direntName(d);
      const child = tree.direntInode(d);
      await this.#entry(child, fd, latin1Bytes(name), path === '' ? name : `${path}/${name}`);
      if (++this.entries % BREATH === 0) await this.#breathe();
    }
  }

  async #breathe(): Promise<void> {
    checkAborted(this.#options.signal);
    const { entries } = this;
    this.#options.onProgress?.({ kind: 'checkout', entries, bytes: this.#bytes, of: this.#tree.inodeCount });
    await new Promise((resolve) => setImmediate(resolve));
  }

  async #entry(ino: number, parent: number, name: Uint8Array, path: string): Promise<void> {
    const tree = this.#tree;
    const type = tree.mode(ino) & S_IFMT;
    if (type === S_IFDIR) {
      mkdirat(parent, name, 0o700);
      const fd = openat(parent, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
      try {
        await this.folder(ino, fd, path);
        this.attributes(ino, fd, undefined, path);
      } finally {
        close(fd);
      }
      return;
    }
    if (tree.nlink(ino) > 1 && this.#link(ino, parent, name, path)) return;
    if (type === S_IFREG) this.#file(ino, parent, name, path);
    else if (type === S_IFLNK) {
      try {
        symlinkat(tree.symlinkBytes(ino), parent, name);
      } catch (error) {
        // XFS takes 1024 bytes.
        if (!isErrno(error, 'ENAMETOOLONG')) throw error;
        this.#notes.add('a symbolic link was left out: its target is too long for the filesystem', path);
        return;
      }
      this.attributes(ino, parent, name, path);
    } else if (type === S_IFIFO || this.#isRoot) {
      try {
        mknodat(parent, name, type | 0o600, type === S_IFIFO ? 0n : device(tree.rdev(ino)));
      } catch (error) {
        if (!isErrno(error, 'EPERM')) throw error;
        this.#notes.add('a device was left out: making it is not permitted', path);
        return;
      }
      this.attributes(ino, parent, name, path);
    } else {
      const what = type === S_IFCHR ? 'character device' : type === S_IFBLK ? 'block device' : 'special file';
      this.#notes.add(`a ${what} was left out: only root can make one`, path);
    }
  }

  /** @returns false when this is the inode's first name */
  #link(ino: number, parent: number, name: Uint8Array, path: string): boolean {
    const first = this.#links.get(ino);
    if (first === undefined) {
      this.#links.set(ino, path);
      return false;
    }
    const slash = first.lastIndexOf('/');
    const base = latin1Bytes(first.slice(slash + 1));
    const flags = O.PATH | O.DIRECTORY | O.NOFOLLOW;
    const folder =
      slash < 0
        ? this.#root
        : openat2(this.#root, latin1Bytes(first.slice(0, slash)), flags, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS);
    try {
      linkat(folder, base, parent, name);
    } catch (error) {
      // The first name was left out, being a device.
      if (isErrno(error, 'ENOENT')) return true;
      throw error;
    } finally {
      if (folder !== this.#root) close(folder);
    }
    return true;
  }

  #file(ino: number, parent: number, name: Uint8Array, path: string): void {
    const fd = openat(parent, name, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600);
    try {
      const hex = this.#tree.objectDigest(ino);
      const size = this.#tree.size(ino);
      if (hex !== undefined) copyObject(this.#paths.object(hex), fd, size);
      this.#bytes += size;
      this.attributes(ino, fd, undefined, path);
    } finally {
      close(fd);
    }
  }

  /**
   * Sets owner, xattrs, mode and times, in this order: chown clears set-user-ID bits and capabilities.
   * @param name undefined: `fd` is the file itself; otherwise a name in the folder `fd`
   */
  attributes(ino: number, fd: number, name: Uint8Array | undefined, path: string): void {
    const tree = this.#tree;
    const mode = tree.mode(ino);
    const place = name ?? NOTHING;
    const empty = name === undefined ? AT.EMPTY_PATH : 0;
    if (this.#isRoot) {
      try {
        fchownat(fd, place, tree.uid(ino), tree.gid(ino), AT.SYMLINK_NOFOLLOW | empty);
      } catch (error) {
        // Owners that this user namespace has no number for.
        if (!isErrno(error, 'EPERM', 'EINVAL')) throw error;
        this.#notes.add('the owner could not be kept', path);
      }
    } else if (tree.uid(ino) !== process.geteuid?.() || tree.gid(ino) !== process.getegid?.()) {
      this.#notes.add('the owner could not be kept: only root can give files away', path);
    }
    for (const [key, value] of tree.hasXattrs(ino) ? tree.xattrs(ino) : []) {
      try {
        // There is no setxattrat(2) before Linux 6.13.
        const target = name === undefined ? fd : Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name]);
        setXattr(target, key, value);
      } catch (error) {
        if (!(error instanceof ErrnoError)) throw error;
        this.#notes.add(`xattr ${printable(key)} could not be kept (${error.code})`, path);
      }
    }
    // Others' set-user-ID programs must not become this user's.
    const kept = this.#isRoot ? mode & 0o7777 : mode & 0o1777;
    if (kept !== (mode & 0o7777)) this.#notes.add('set-user-ID and set-group-ID bits were left out', path);
    if (name === undefined) fchmodSync(fd, kept);
    else if ((mode & S_IFMT) !== S_IFLNK) fchmodat(fd, name, kept);
    const time = { sec: tree.mtimeSec(ino), nsec: tree.mtimeNsec(ino) };
    utimensat(fd, place, time, time, AT.SYMLINK_NOFOLLOW | empty);
  }
}

const NOTHING = new Uint8Array();

/** @returns whether the folder is new */
function prepareFolder(folder: string): boolean {
  try {
    mkdirSync(folder, { mode: 0o700 });
    return true;
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  }
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (isErrno(error, 'ENOTDIR'))
      throw new LayerfsError('invalid-argument', `${folder} is no folder`, { cause: error });
    throw error;
  }
  if (names.length > 0) throw new LayerfsError('already-exists', `${folder} is not empty: a checkout replaces nothing`);
  return false;
}

// Linux's 32-bit encoding: 12 bits major between the low 8 and the high 12 of the minor.
function device(rdev: number): bigint {
  return makedev((rdev >>> 8) & 0xfff, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00));
}
