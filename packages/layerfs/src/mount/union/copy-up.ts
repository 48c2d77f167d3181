import { fchmodSync, fchownSync, fdatasync, fdatasyncSync, ftruncateSync } from 'node:fs';
import { promisify } from 'node:util';
import { Attr } from '@layerfs/fuse';
import {
  ErrnoError,
  O,
  close,
  errno,
  fchmodat,
  fchownat,
  futimens,
  getXattr,
  linkat,
  mkdirat,
  mknodat,
  openat,
  renameat2,
  RENAME,
  setXattr,
  symlinkat,
  utimensat,
  type Statx,
} from '@layerfs/linux';
import { latin1Bytes } from '../../core/bytes.js';
import * as format from '../../core/overlay/format.js';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../core/tree/format.js';
import { copyContent, copyContentLater } from './content-copy.js';
import { Folder, Inode } from './inodes.js';
import type { LowerName, LowerNode } from './lower.js';
import type { Union } from './union.js';

const O_TMPFILE = 0o20000000 | O.DIRECTORY;
const EMPTY = new Uint8Array();
const TOO_LONG: ReadonlySet<number> = new Set([errno.E2BIG, errno.ERANGE, errno.ENOSPC]);
const CAPABILITY = 'security.capability';

/** What is to be in upper after a copy-up of a regular file. */
export interface Wanted {
  /** The content as well, not only what stat shows. */
  readonly data: boolean;
  /** Only so many bytes of it: it is about to be cut. */
  readonly length?: number;
  /** The permissions to give it in place of its own, where it has to be copied up at all. */
  readonly mode?: number;
}

/** What is being made in the staging folder: its name, and where its attributes are set. */
interface Staged {
  readonly name: Uint8Array;
  readonly target: Uint8Array | number;
}

/**
 * Copy-up: brings files of the lower into upper before they change. Each is made complete in the staging folder and moved
 * into place in one step, so that nobody, not even after a crash, sees half of one.
 */
export class CopyUp {
  readonly #union: Union;
  readonly #durable: boolean;
  readonly #attr = new Attr();
  #latest: { readonly inode: Inode; readonly stat: Statx } | undefined;

  /** @param durable content is on disk before it hides the lower's; what is volatile does without */
  constructor(union: Union, durable: boolean) {
    this.#union = union;
    this.#durable = durable;
  }

  /** Makes sure that a folder exists in upper. @param permissions the mode to give it, where it has to be copied up */
  folder(folder: Folder, permissions?: number): void {
    if (folder.upper) return;
    const { union } = this;
    const { parent } = folder;
    if (parent === undefined) throw new ErrnoError(errno.ENOENT, 'removed folder');
    this.folder(parent);
    const { upper } = union;
    const staged = upper.stagingName();
    upper.cleaning(staged, () => {
      mkdirat(upper.staging, staged, 0o700);
      const path = upper.path({ dir: upper.staging, name: staged });
      this.#attributes(folder.lower, { name: staged, target: path }, permissions);
      this.#markOrigin(path, folder.ino);
      this.#times({ name: staged, target: path });
      this.#intoPlace(staged, parent, folder.name);
    });
    const stat = upper.stat(folder);
    union.table.setUpper(folder, stat.ino);
    this.#latest = { inode: folder, stat };
  }

  /**
   * Makes sure that a file exists in upper, with all its names.
   * @returns its inode
   */
  file(node: Inode | LowerNode, wanted: Wanted): Inode {
    if (typeof node === 'number') return this.#lowerFile(node, wanted);
    if (node.gone) return this.#lowerFile(node.lower, wanted, node);
    if (!node.upper) throw new ErrnoError(errno.EIO, 'copy-up');
    if (node.metacopy && wanted.data) this.#complete(node, wanted.length);
    return node;
  }

  /** Either. */
  any(node: Inode | LowerNode, wanted: Wanted): Inode {
    if (this.#union.type(node) !== S_IFDIR) return this.file(node, wanted);
    const folder = node instanceof Folder ? node : this.#union.folder(node as LowerNode);
    if (!folder.removed) this.folder(folder, wanted.mode);
    return folder;
  }

  get union(): Union {
    return this.#union;
  }

  /** What stat said of a file when it was copied up, to be asked for right after that. */
  takeStat(inode: Inode): Statx | undefined {
    const latest = this.#latest;
    this.#latest = undefined;
    return latest?.inode === inode ? latest.stat : undefined;
  }

  #lowerFile(node: LowerNode, wanted: Wanted, known?: Inode): Inode {
    const { union } = this;
    const { upper, table, lower } = union;
    const names = this.#visibleNames(node);
    for (const { folder } of names) this.folder(folder);
    lower.fill(node, this.#attr);
    const { mode, ino, size } = this.#attr;
    const type = mode & S_IFMT;
    const metacopy = type === S_IFREG && !wanted.data && size > 0;
    const alone = names.length === 1 && lower.names(node).length === 1;
    const staged = upper.stagingName();
    upper.cleaning(staged, () => {
      const target = this.#make(node, type, staged, wanted, metacopy);
      try {
        if (metacopy) {
          upper.mark(target, format.METACOPY, EMPTY);
          // A file with several names, or one that moves later, is found by its path.
          if (!alone) this.#markRedirect(node, target);
        }
        this.#attributes(node, { name: staged, target }, wanted.mode);
        // The number of a metacopy is that of the file it goes on with.
        if (!metacopy || !alone) this.#markOrigin(target, ino);
        this.#times({ name: staged, target });
      } finally {
        if (typeof target === 'number') close(target);
      }
    });
    const inode = known ?? new Inode(node, ino, type, 0);
    inode.lower = metacopy ? node : 0;
    inode.metacopy = metacopy;
    inode.gone = false;
    if (names.length === 0) this.#asOrphan(inode, staged);
    for (const { folder, name } of names.slice(1)) {
      upper.keepingTimes(folder, (dir) => linkat(upper.staging, staged, dir, latin1Bytes(name)));
    }
    if (names.length > 0) this.#intoPlace(staged, names[0].folder, names[0].name);
    if (known === undefined) table.add(inode);
    inode.upper = true;
    for (const { folder, name } of names) table.addName(inode, folder, name);
    const stat = upper.stat(inode);
    table.setUpper(inode, stat.ino);
    this.#latest = { inode, stat };
    return inode;
  }

  /** The names of a lower file that the merged root shows. */
  #visibleNames(node: LowerNode): { folder: Folder; name: string }[] {
    const { union } = this;
    const visible: { folder: Folder; name: string }[] = [];
    const names = union.lower.names(node);
    // Whoever got to a file of one name did so by that name; had it gone since, the table would know the file.
    const untouched = names.length === 1 && union.table.get(node) === undefined;
    for (const name of names) {
      const folder = this.#place(name);
      if (folder === undefined) continue;
      if (untouched || union.lookup(folder, name.name) === node) visible.push({ folder, name: name.name });
    }
    return visible;
  }

  #place({ folder }: LowerName): Folder | undefined {
    try {
      const found = this.#union.folder(folder);
      return found.lower === folder && !found.removed ? found : undefined;
    } catch (error) {
      if (error instanceof ErrnoError && error.errno === errno.ESTALE) return undefined;
      throw error;
    }
  }

  /** Makes the file in the staging folder. @returns where its attributes are set: a descriptor to be closed, or a path */
  #make(node: LowerNode, type: number, staged: Uint8Array, wanted: Wanted, metacopy: boolean): Uint8Array | number {
    const { lower, upper } = this.#union;
    const { mode, size, rdev } = this.#attr;
    if (type === S_IFREG) {
      const bits = (wanted.mode ?? mode) & 0o777;
      const fd = openat(upper.staging, staged, O.RDWR | O.CREAT | O.EXCL | O.NOFOLLOW, bits);
      try {
        if (!metacopy) this.#fillContent(node, fd, size, wanted.length);
        else ftruncateSync(fd, size);
        return fd;
      } catch (error) {
        close(fd);
        throw error;
      }
    }
    if (type === S_IFLNK) symlinkat(lower.readlink(node), upper.staging, staged);
    else mknodat(upper.staging, staged, ((wanted.mode ?? mode) & 0o777) | type, device(rdev));
    return upper.path({ dir: upper.staging, name: staged });
  }

  #fillContent(node: LowerNode, fd: number, size: number, limit: number | undefined): void {
    const length = Math.min(size, limit ?? size);
    const content = length === 0 ? -1 : this.#union.lower.openContent(node);
    if (content >= 0) {
      try {
        copyContent(content, fd, length, length === size);
      } finally {
        close(content);
      }
    }
    ftruncateSync(fd, length);
    if (this.#durable && length > 0) fdatasyncSync(fd);
  }

  /** Brings the content of a file whose rest is in upper already. */
  #complete(inode: Inode, limit: number | undefined): void {
    const before = this.#union.upper.stat(inode);
    if (limit !== undefined && limit < before.size && before.nlink === 1 && inode.names.length === 1) {
      this.#replaceCut(inode, before, limit);
      return;
    }
    const fd = this.#union.upper.open(inode, O.RDWR);
    try {
      // Writing takes these away, and this is no write.
      const capability = capabilityOf(fd);
      try {
        this.#fillContent(inode.lower, fd, before.size, undefined);
      } catch (error) {
        emptyAgain(fd, before.size);
        throw error;
      }
      this.#completed(inode, fd, before, capability);
    } finally {
      close(fd);
    }
  }

  /**
   * {@link #complete} of the beginning alone, as the rest is about to be cut off: as a new file that takes the place of the old
   * one, because size and mark could not go in one step.
   */
  #replaceCut(inode: Inode, before: Statx, limit: number): void {
    const { upper, table } = this.#union;
    const [{ folder, name }] = inode.names;
    const staged = upper.stagingName();
    upper.cleaning(staged, () => {
      const fd = openat(upper.staging, staged, O.RDWR | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600);
      try {
        this.#fillContent(inode.lower, fd, before.size, limit);
        fchownSync(fd, upper.storedUid(before.uid), upper.storedGid(before.gid));
        fchmodSync(fd, before.mode & 0o7777);
        upper.copyXattrs(inode, fd, [format.METACOPY, format.REDIRECT]);
        this.#markOrigin(fd, inode.ino);
      } finally {
        close(fd);
      }
      const times = [
        { sec: before.atimeSec, nsec: before.atimeNsec },
        { sec: before.mtimeSec, nsec: before.mtimeNsec },
      ] as const;
      utimensat(upper.staging, staged, ...times);
      upper.keepingTimes(folder, (dir) => renameat2(upper.staging, staged, dir, latin1Bytes(name)));
    });
    table.clearUpper(inode);
    inode.metacopy = false;
    inode.lower = 0;
    table.setUpper(inode, upper.stat(inode).ino);
  }

  /** The content is there: from here on it is upper's. */
  #completed(inode: Inode, fd: number, before: Statx, capability: Uint8Array | undefined): void {
    const { upper } = this.#union;
    if (capability !== undefined) setXattr(fd, CAPABILITY, capability);
    // What only the machine's root writes without losing them.
    if ((before.mode & SET_ID) !== 0) fchmodSync(fd, before.mode & 0o7777);
    this.#markOrigin(fd, inode.ino);
    upper.unmark(fd, format.METACOPY);
    upper.unmark(fd, format.REDIRECT);
    inode.metacopy = false;
    inode.lower = 0;
    upper.utimens(
      inode,
      { sec: before.atimeSec, nsec: before.atimeNsec },
      { sec: before.mtimeSec, nsec: before.mtimeNsec },
    );
  }

  /**
   * Brings the content of a large file while others are served. Until it is done readers have the lower's; who changes the
   * file has to wait for it ({@link Inode.completing}).
   */
  completeLater(inode: Inode, done: (error: unknown) => void): void {
    if (inode.completing !== undefined) {
      inode.completing.push(done);
      return;
    }
    const waiting = [done];
    inode.completing = waiting;
    this.#union.table.pin(inode);
    const end = (error: unknown): void => {
      inode.completing = undefined;
      this.#union.table.unpin(inode);
      for (const each of waiting) each(error);
    };
    this.#fillLater(inode).then(() => end(undefined), end);
  }

  async #fillLater(inode: Inode): Promise<void> {
    const { upper, lower } = this.#union;
    const before = upper.stat(inode);
    const fd = upper.open(inode, O.RDWR);
    try {
      const capability = capabilityOf(fd);
      await new Promise<void>((resolve) => {
        if (lower.verifyLater?.(inode.lower, resolve) !== true) resolve();
      });
      const content = lower.openContent(inode.lower);
      if (content >= 0) {
        try {
          await copyContentLater(content, fd, before.size);
        } catch (error) {
          emptyAgain(fd, before.size);
          throw error;
        } finally {
          close(content);
        }
      }
      if (this.#durable) await promisify(fdatasync)(fd);
      this.#completed(inode, fd, before, capability);
    } finally {
      close(fd);
    }
  }

  /**
   * Owner, mode and attributes of a lower file, set on what is staged. Owner first: it takes set-user-ID away.
   * @param permissions the mode to give it in place of its own
   */
  #attributes(node: LowerNode, { name, target }: Staged, permissions: number | undefined): void {
    const { lower, upper } = this.#union;
    const dir = upper.staging;
    lower.fill(node, this.#attr);
    const type = this.#attr.mode & S_IFMT;
    const [uid, gid] = [upper.storedUid(this.#attr.uid), upper.storedGid(this.#attr.gid)];
    const mode = (permissions ?? this.#attr.mode) & 0o7777;
    const { fresh } = upper;
    if (uid !== fresh.uid || gid !== fresh.gid) {
      try {
        fchownat(dir, name, uid, gid);
      } catch (error) {
        // Without privileges all that is copied up becomes one's own.
        if (upper.xattrClass === 'trusted' || !(error instanceof ErrnoError)) throw error;
      }
    }
    // Folders are made for us alone at first.
    const has = type !== S_IFDIR && fresh.exactMode ? mode & 0o777 : -1;
    if (type !== S_IFLNK && mode !== has) fchmodat(dir, name, mode);
    const attributes = lower.xattrs(node);
    for (const [attribute, value] of attributes) copyXattr(target, attribute, value, upper.xattrClass);
    // An ACL has a mode of its own.
    if (permissions !== undefined && attributes.length > 0) fchmodat(dir, name, mode);
  }

  /** The times of the file whose {@link #attributes} were set. */
  #times({ name, target }: Staged): void {
    const { atimeSec, atimeNsec, mtimeSec, mtimeNsec } = this.#attr;
    const [atime, mtime] = [
      { sec: atimeSec, nsec: atimeNsec },
      { sec: mtimeSec, nsec: mtimeNsec },
    ];
    if (typeof target === 'number') futimens(target, atime, mtime);
    else utimensat(this.#union.upper.staging, name, atime, mtime);
  }

  #markOrigin(target: Uint8Array | number, ino: number): void {
    const origin = Buffer.alloc(8);
    origin.writeBigUInt64LE(BigInt(ino));
    try {
      this.#union.upper.mark(target, format.ORIGIN_INO, origin);
    } catch (error) {
      // user.* is for files and folders only; the number changes then, as it does elsewhere.
      if (!(error instanceof ErrnoError) || (error.errno !== errno.EPERM && error.errno !== errno.ENOTSUP)) throw error;
    }
  }

  #markRedirect(node: LowerNode, target: Uint8Array | number, to?: Folder): void {
    const names = this.#union.lower.names(node);
    // A folder beside its lower name is found by that alone. (A file may have other names elsewhere.)
    const stays = to !== undefined && to.lower !== 0 && names.length === 1 && names[0].folder === to.lower;
    const value = latin1Bytes(stays ? names[0].name : this.#union.lowerPath(node));
    try {
      if (value.length > format.MAX_REDIRECT) throw new ErrnoError(errno.E2BIG, 'redirect');
      this.#union.upper.mark(target, format.REDIRECT, value);
    } catch (error) {
      // Too deep to be said: who moves it copies it instead.
      if (error instanceof ErrnoError && TOO_LONG.has(error.errno)) throw new ErrnoError(errno.EXDEV, 'redirect');
      throw error;
    }
  }

  /** A metacopy or merged folder is about to move (to another name of `to`): it says from now on where it comes from. */
  rememberOrigin(inode: Inode, to?: Folder): void {
    inode.bare = false;
    const { upper } = this.#union;
    if (inode.lower === 0 || (inode.type === S_IFREG && !inode.metacopy)) return;
    try {
      this.#markRedirect(inode.lower, upper.xattrTarget(inode), inode instanceof Folder ? to : undefined);
    } catch (error) {
      // Of a file the content can be had instead.
      if (!inode.metacopy || !(error instanceof ErrnoError) || error.errno !== errno.EXDEV) throw error;
      this.#complete(inode, undefined);
    }
  }

  #asOrphan(inode: Inode, staged: Uint8Array): void {
    const { upper } = this.#union;
    const open = inode.type === S_IFREG ? O.RDONLY : O.PATH;
    inode.orphan = openat(upper.staging, staged, open | O.NOFOLLOW);
    upper.discard(staged);
  }

  #intoPlace(staged: Uint8Array, folder: Folder, name: string): void {
    const { upper } = this.#union;
    upper.keepingTimes(folder, (dir) => renameat2(upper.staging, staged, dir, latin1Bytes(name), RENAME.NOREPLACE));
  }

  /** An unnamed new file in a folder's filesystem. */
  unnamed(folder: Folder, mode: number): number {
    const dir = openat(this.#union.upper.dir(folder), '.', O.RDONLY | O.DIRECTORY);
    try {
      return openat(dir, '.', O_TMPFILE | O.RDWR, mode);
    } finally {
      close(dir);
    }
  }
}

/** Gives back the blocks of a copy that failed. */
function emptyAgain(fd: number, size: number): void {
  ftruncateSync(fd, 0);
  ftruncateSync(fd, size);
}

function capabilityOf(fd: number): Uint8Array | undefined {
  try {
    return getXattr(fd, CAPABILITY);
  } catch (error) {
    // One that makes no sense gives no rights either.
    if (error instanceof ErrnoError && error.errno === errno.EINVAL) return undefined;
    throw error;
  }
}

/** Attributes of which upper's filesystem knows nothing are left out, as overlayfs does; but none that rights hang on. */
/** Set-user-ID and set-group-ID. */
const SET_ID = 0o6000;

function copyXattr(path: Uint8Array | number, name: string, value: Uint8Array, xattrClass: format.XattrClass): void {
  try {
    setXattr(path, name, value);
  } catch (error) {
    // Whoever may not set it could not have it from a plain copy either.
    if (xattrClass === 'user' && error instanceof ErrnoError && error.errno === errno.EPERM) return;
    const mustBe = name.startsWith('security.') || name.startsWith('system.');
    if (mustBe || !(error instanceof ErrnoError) || error.errno !== errno.ENOTSUP) throw error;
  }
}

/** The kernel's 32-bit device number as mknod(2) takes it. */
export function device(rdev: number): bigint {
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return (BigInt(major) << 8n) | BigInt(minor & 0xff) | (BigInt(minor & ~0xff) << 12n);
}
