import { readdirSync, rmSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import {
  AT,
  AT_FDCWD,
  DT,
  ErrnoError,
  O,
  close,
  errno,
  fchmodat,
  fchownat,
  getXattr,
  listXattrs,
  mkdirat,
  openat,
  readDirents,
  readlinkat,
  removeXattr,
  setXattr,
  statx,
  tryStatx,
  unlinkat,
  utimensat,
  type Statx,
  type Time,
} from '@layerfs/linux';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { latin1Bytes } from '../../core/bytes.js';
import { S_IFDIR, S_IFMT, S_IFREG } from '../../core/tree/format.js';
import type { IdMap } from '../../core/overlay/id-map.js';
import * as format from '../../core/overlay/format.js';
import { adoptForeignUpper } from './foreign-upper.js';
import { STAGED_WHITEOUT, Whiteouts } from './whiteouts.js';
import type { Folder, Inode } from './inodes.js';

/** Folders of upper kept open. */
const MAX_FOLDERS = 512;
const STAGING = 'layerfs';

/** How owners on disk are shown. */
export interface Owners {
  readonly uid: IdMap;
  readonly gid: IdMap;
}

/** How files come into being in the staging folder. */
export interface Fresh {
  readonly uid: number;
  readonly gid: number;
  /** Permissions are as asked for, reduced by nothing. */
  readonly exactMode: boolean;
}

/** A name in an open folder. */
export interface Place {
  readonly dir: number;
  readonly name: Uint8Array;
}

/** A file with several names that was not given all of them: it goes, and they show the lower's file again. */
export interface UnfinishedGroup {
  /** In upper. */
  readonly upperIno: number;
  /** In the lower. */
  readonly ino: number;
}

/** An entry of an upper folder, as it lies on disk. */
export interface UpperEntry {
  /** Bytes as latin1. */
  readonly name: string;
  readonly isFolder: boolean;
  readonly isWhiteout: boolean;
}

/**
 * The upper and work folders on disk. Everything is reached from an open folder by one name, which is never followed when
 * it is a symbolic link: nothing that lies in upper can lead out of it.
 */
export class Upper {
  readonly #root: number;
  readonly #work: number;
  readonly #lock: number;
  readonly staging: number;
  readonly xattrClass: format.XattrClass;
  readonly #folders: LRUCache<Folder, number>;
  #sequence = 0;
  readonly whiteouts: Whiteouts;

  /** Files that a crash kept from getting all their names. */
  readonly unfinished: readonly UnfinishedGroup[];
  readonly #owners: Owners | undefined;
  /** What a file that was just made in the staging folder has: whatever is wanted of it need not be set. */
  readonly fresh: Fresh;
  /** The times of the folder that got a name last by {@link keepingTimes}, while they are known to be these. */
  #kept: { readonly folder: Folder; readonly atime: Time; readonly mtime: Time } | undefined;

  /**
   * @param upper folder in overlayfs format
   * @param work folder on the same filesystem; what an earlier mount left in it is removed
   * @throws ErrnoError EBUSY when another mount uses them, EXDEV when they lie on different filesystems, ENOTSUP when
   * theirs has no extended attributes
   */
  constructor(upper: string, work: string, owners?: Owners) {
    this.#owners = owners;
    const flags = O.RDONLY | O.DIRECTORY;
    this.#root = openat(AT_FDCWD, upper, flags);
    this.#work = openat(AT_FDCWD, work, flags);
    this.#lock = this.#work;
    if (!tryFlock(this.#lock, LOCK.EX)) throw new ErrnoError(errno.EBUSY, 'work folder', work);
    const [a, b] = [statx(this.#root, '', AT.EMPTY_PATH), statx(this.#work, '', AT.EMPTY_PATH)];
    if (a.devMajor !== b.devMajor || a.devMinor !== b.devMinor) throw new ErrnoError(errno.EXDEV, 'work folder', work);
    this.unfinished = unfinishedGroups(this.#work);
    rmSync(`${work}/${STAGING}`, { recursive: true, force: true });
    mkdirat(this.#work, STAGING, 0o700);
    this.staging = openat(this.#work, STAGING, flags | O.NOFOLLOW);
    this.xattrClass = classFor(this.staging);
    this.fresh = freshIn(this.staging);
    this.whiteouts = new Whiteouts(this.#root, this.staging, this.xattrClass);
    adoptForeignUpper(this.#root, this.xattrClass, this.whiteouts);
    this.#folders = new LRUCache({ max: MAX_FOLDERS, dispose: (fd) => close(fd) });
  }

  close(): void {
    this.#folders.clear();
    for (const fd of [this.staging, this.#work, this.#root]) close(fd);
  }

  /** A descriptor of the upper folder itself, for syncfs and statfs. */
  get root(): number {
    return this.#root;
  }

  /** An O_PATH descriptor of a folder that exists in upper, to change names in it; good until many others are asked for. */
  dir(folder: Folder): number {
    this.#kept = undefined;
    return this.#descriptor(folder);
  }

  #descriptor(folder: Folder): number {
    if (folder.parent === undefined) {
      if (folder.orphan >= 0) return folder.orphan;
      if (folder.removed) throw new ErrnoError(errno.ENOENT, 'removed folder');
      return this.#root;
    }
    let fd = this.#folders.get(folder);
    if (fd === undefined) {
      fd = openat(this.#descriptor(folder.parent), latin1Bytes(folder.name), O.PATH | O.DIRECTORY | O.NOFOLLOW);
      this.#folders.set(folder, fd);
    }
    return fd;
  }

  readlink(inode: Inode): Uint8Array {
    const { dir, name } = this.place(inode);
    return readlinkat(dir, name);
  }

  /** Opens a file of upper. */
  open(inode: Inode, flags: number): number {
    const place = this.place(inode);
    return place.name.length > 0
      ? openat(place.dir, place.name, flags | O.NOFOLLOW)
      : openat(AT_FDCWD, this.path(place), flags);
  }

  /** Closes what is kept open of a folder. */
  forget(folder: Folder): void {
    this.#folders.delete(folder);
  }

  /** Where a file of upper lies. */
  place(inode: Inode | Folder): Place {
    if ('subfolders' in inode) {
      if (inode.parent !== undefined) return { dir: this.#descriptor(inode.parent), name: latin1Bytes(inode.name) };
      return { dir: this.#descriptor(inode), name: NOTHING };
    }
    const at = inode.names.at(-1);
    if (at !== undefined) return { dir: this.#descriptor(at.folder), name: latin1Bytes(at.name) };
    if (inode.orphan < 0) throw new ErrnoError(errno.ESTALE, 'upper file');
    return { dir: inode.orphan, name: NOTHING };
  }

  /** The place as one path, for calls that take no folder. The last name is not followed; an orphan's is to be. */
  path(place: Place): Uint8Array {
    const { dir, name } = place;
    return Buffer.concat([Buffer.from(`/proc/self/fd/${dir}${name.length > 0 ? '/' : ''}`), name]);
  }

  /** What calls on extended attributes take for a file. */
  xattrTarget(inode: Inode): Uint8Array | number {
    const place = this.place(inode);
    return place.name.length > 0 ? this.path(place) : place.dir;
  }

  /** Keeps a file or folder within reach whose last name is about to go. */
  keep(inode: Inode): void {
    if (inode.orphan >= 0) return;
    const { dir, name } = this.place(inode);
    const open = inode.type === S_IFREG || inode.type === S_IFDIR ? O.RDONLY | O.NONBLOCK : O.PATH;
    inode.orphan = openat(dir, name, open | O.NOFOLLOW);
  }

  chmod(inode: Inode, mode: number): void {
    const place = this.place(inode);
    if (place.name.length > 0) fchmodat(place.dir, place.name, mode);
    else fchmodat(AT_FDCWD, this.path(place), mode);
  }

  /** Owner and group; -1 leaves one as it is. */
  chown(inode: Inode, uid: number, gid: number): void {
    const { dir, name } = this.place(inode);
    const flags = AT.SYMLINK_NOFOLLOW | (name.length === 0 ? AT.EMPTY_PATH : 0);
    fchownat(dir, name, this.storedUid(uid), this.storedGid(gid), flags);
  }

  utimens(inode: Inode, atime: Time, mtime: Time): void {
    if (this.#kept?.folder === inode) this.#kept = undefined;
    const place = this.place(inode);
    if (place.name.length > 0) utimensat(place.dir, place.name, atime, mtime);
    else utimensat(AT_FDCWD, this.path(place), atime, mtime, 0);
  }

  /** Puts something into a folder that nobody changed, as users see it. */
  keepingTimes(folder: Folder, action: (dir: number) => void): void {
    let kept = this.#kept;
    if (kept?.folder !== folder) {
      const { atimeSec, atimeNsec, mtimeSec, mtimeNsec } = this.stat(folder);
      const [atime, mtime] = [
        { sec: atimeSec, nsec: atimeNsec },
        { sec: mtimeSec, nsec: mtimeNsec },
      ];
      kept = { folder, atime, mtime };
    }
    this.#kept = undefined;
    action(this.#descriptor(folder));
    this.utimens(folder, kept.atime, kept.mtime);
    this.#kept = kept;
  }

  stat(inode: Inode): Statx {
    const { dir, name } = this.place(inode);
    return this.shown(name.length === 0 ? statx(dir, '', AT.EMPTY_PATH) : statx(dir, name, AT.SYMLINK_NOFOLLOW));
  }

  /** What stat on disk says, with the owners that are shown. */
  shown(stat: Statx): Statx {
    const owners = this.#owners;
    if (owners === undefined) return stat;
    return { ...stat, uid: owners.uid.shown(stat.uid), gid: owners.gid.shown(stat.gid) };
  }

  /** The owner on disk for one that users see; -1 stays. */
  storedUid(uid: number): number {
    return uid < 0 || this.#owners === undefined ? uid : this.#owners.uid.stored(uid);
  }

  storedGid(gid: number): number {
    return gid < 0 || this.#owners === undefined ? gid : this.#owners.gid.stored(gid);
  }

  /** What a name is in a folder of upper; undefined when there is none. */
  entry(folder: Folder, name: string): Statx | undefined {
    const stat = tryStatx(this.#descriptor(folder), latin1Bytes(name), AT.SYMLINK_NOFOLLOW);
    return stat === undefined ? undefined : this.shown(stat);
  }

  isWhiteout(folder: Folder, name: string, stat: Statx): boolean {
    return this.whiteouts.is(stat, () => this.path({ dir: this.#descriptor(folder), name: latin1Bytes(name) }));
  }

  /** All entries of a folder. Looking does not change its time of access. */
  list(folder: Folder): UpperEntry[] {
    const dir = this.#descriptor(folder);
    const fd = openForListing(dir);
    const entries: UpperEntry[] = [];
    try {
      readDirents(fd, (name, type) => {
        const unclear = type === DT.CHR || type === DT.UNKNOWN || (type === DT.REG && !this.whiteouts.devices);
        const stat = unclear ? statx(dir, latin1Bytes(name), AT.SYMLINK_NOFOLLOW) : undefined;
        entries.push({
          name,
          isFolder: stat === undefined ? type === DT.DIR : (stat.mode & S_IFMT) === S_IFDIR,
          isWhiteout: stat !== undefined && this.isWhiteout(folder, name, stat),
        });
      });
    } finally {
      close(fd);
    }
    return entries;
  }

  // The union's own attributes.

  mark(target: Uint8Array | number, attribute: string, value: Uint8Array): void {
    setXattr(target, `${this.xattrClass}.${attribute}`, value);
  }

  unmark(target: Uint8Array | number, attribute: string): void {
    try {
      removeXattr(target, `${this.xattrClass}.${attribute}`);
    } catch (error) {
      if (!(error instanceof ErrnoError) || error.errno !== errno.ENODATA) throw error;
    }
  }

  /** Which of the union's own attributes a file has, without the class. */
  marks(target: Uint8Array): ReadonlySet<string> {
    let names: string[];
    try {
      names = listXattrs(target);
    } catch (error) {
      if (error instanceof ErrnoError && (error.errno === errno.ENOTSUP || error.errno === errno.EPERM))
        return NO_MARKS;
      throw error;
    }
    if (names.length === 0) return NO_MARKS;
    const prefix = `${this.xattrClass}.`;
    return new Set(names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length)));
  }

  marked(target: Uint8Array | number, attribute: string): Uint8Array | undefined {
    try {
      return getXattr(target, `${this.xattrClass}.${attribute}`);
    } catch (error) {
      // No such class on this filesystem or this kind of file: then nothing is marked.
      if (error instanceof ErrnoError && (error.errno === errno.ENOTSUP || error.errno === errno.EPERM))
        return undefined;
      throw error;
    }
  }

  // What is made in the staging folder first.

  /** A name in the staging folder that nothing has. */
  stagingName(): Uint8Array {
    return latin1Bytes(`${this.#sequence++}`);
  }

  /** Runs something that makes a file or an empty folder in the staging folder; what is there when it fails is removed. */
  cleaning<T>(staged: Uint8Array, action: () => T): T {
    try {
      return action();
    } catch (error) {
      const left = tryStatx(this.staging, staged, AT.SYMLINK_NOFOLLOW);
      if (left !== undefined) {
        unlinkat(this.staging, staged, (left.mode & S_IFMT) === S_IFDIR ? AT.REMOVEDIR : 0);
      }
      throw error;
    }
  }

  /** Copies all attributes of a file to an open one, but for some of the union's own. */
  copyXattrs(from: Inode, to: number, without: readonly string[]): void {
    const target = this.xattrTarget(from);
    const left = new Set(without.map((mark) => `${this.xattrClass}.${mark}`));
    for (const name of listXattrs(target)) {
      const value = left.has(name) ? undefined : getXattr(target, name);
      if (value !== undefined) setXattr(to, name, value);
    }
  }

  /** Removes a staged file. */
  discard(staged: Uint8Array): void {
    unlinkat(this.staging, staged);
  }

  /** Removes a staged folder that holds nothing but whiteouts. */
  discardFolder(staged: Uint8Array): void {
    const fd = openat(this.staging, staged, O.PATH | O.DIRECTORY | O.NOFOLLOW);
    try {
      for (const name of readdirSync(`/proc/self/fd/${fd}/.`, 'latin1')) unlinkat(fd, latin1Bytes(name));
    } finally {
      close(fd);
    }
    unlinkat(this.staging, staged, AT.REMOVEDIR);
  }
}

/** What is staged and has names outside already was in the middle of getting them. */
function unfinishedGroups(work: number): UnfinishedGroup[] {
  const groups: UnfinishedGroup[] = [];
  const stat = tryStatx(work, STAGING, AT.SYMLINK_NOFOLLOW);
  if (stat === undefined || (stat.mode & S_IFMT) !== S_IFDIR) return groups;
  const staging = openat(work, STAGING, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  try {
    for (const name of readdirSync(`/proc/self/fd/${staging}/.`, 'latin1')) {
      const bytes = latin1Bytes(name);
      const { mode, nlink, ino } = statx(staging, bytes, AT.SYMLINK_NOFOLLOW);
      const type = mode & S_IFMT;
      if (nlink < 2 || type === S_IFDIR || name === STAGED_WHITEOUT) continue;
      const path = Buffer.concat([Buffer.from(`/proc/self/fd/${staging}/`), bytes]);
      const origin = ['trusted', 'user'].map((kind) => getXattr(path, `${kind}.${format.ORIGIN_INO}`)).find(Boolean);
      if (origin?.length === 8) groups.push({ upperIno: ino, ino: Number(Buffer.from(origin).readBigUInt64LE()) });
    }
  } finally {
    close(staging);
  }
  return groups;
}

/** Attributes of the trusted class need the right to administer the machine; the user class is for all others. */
function classFor(staging: number): format.XattrClass {
  try {
    setXattr(staging, 'trusted.overlay.layerfs.probe', NOTHING);
    return 'trusted';
  } catch (error) {
    if (!(error instanceof ErrnoError) || error.errno !== errno.EPERM) throw error;
    return 'user';
  }
}

/** Tries it: it hangs on the umask, on how the filesystem is mounted, and on what the work folder inherited. */
function freshIn(staging: number): Fresh {
  const name = 'fresh';
  close(openat(staging, name, O.RDWR | O.CREAT | O.EXCL | O.NOFOLLOW, 0o777));
  const { uid, gid, mode } = statx(staging, name, AT.SYMLINK_NOFOLLOW);
  unlinkat(staging, name);
  return { uid, gid, exactMode: (mode & 0o7777) === 0o777 };
}

function openForListing(dir: number): number {
  try {
    return openat(dir, '.', O.RDONLY | O.DIRECTORY | O.NOATIME);
  } catch (error) {
    // Only the owner may ask for that.
    if (!(error instanceof ErrnoError) || error.errno !== errno.EPERM) throw error;
    return openat(dir, '.', O.RDONLY | O.DIRECTORY);
  }
}

const NOTHING = new Uint8Array();
/** What `marks` gives for a file without any extended attribute, of whatever name. */
export const NO_MARKS: ReadonlySet<string> = new Set();
