/**
 * An upper folder on the disk. Everything is reached from descriptors of folders that were opened without following a
 * link, so that whatever lies in an upper, no link in it leads outside.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readSync } from 'node:fs';
import {
  AT,
  AT_FDCWD,
  close,
  getXattr,
  listXattrs,
  O,
  openat,
  readlinkat,
  statx,
  type Statx,
  type XattrTarget,
} from '@layerfs/linux';
import { latin1, latin1Bytes } from '../../core/bytes.js';
import { corruptUpper, joinPath, type UpperFile, type UpperFolder } from '../../core/overlay/upper.js';
import { S_IFBLK, S_IFCHR, S_IFLNK, S_IFMT, S_IFREG } from '../../core/tree/format.js';
import type { Xattr } from '../../core/tree/xattr.js';
import { isErrno } from '../errors.js';

const CHUNK = 256 * 1024;
const NOTHING = new Uint8Array();
const FOLDER = O.RDONLY | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC;
// Not to wait for a writer where a FIFO has taken the place of a file.
const FILE = O.RDONLY | O.NOFOLLOW | O.NONBLOCK | O.CLOEXEC;

/** Attributes that say how an upper is to be read where no right is needed to set them. */
const UNPRIVILEGED = /^user\.(?:overlay|fuseoverlayfs)\./;

/**
 * Opens an upper folder; the caller closes it. @throws ErrnoError
 * @param privileged the kernel wrote it in a mount by root, to which attributes of users mean nothing: anybody may have set them, and
 * they are left out
 */
export function openUpper(path: string, privileged = false): UpperFolder {
  return new DiskFolder(openat(AT_FDCWD, path, FOLDER), '', privileged);
}

class DiskFolder implements UpperFolder {
  readonly self: UpperFile;
  readonly #fd: number;
  /** For messages. */
  readonly #path: string;
  readonly #privileged: boolean;

  constructor(fd: number, path: string, privileged: boolean) {
    this.#fd = fd;
    this.#path = path;
    this.#privileged = privileged;
    try {
      this.self = describe('', path, statx(fd, NOTHING, AT.EMPTY_PATH), this.#xattrs(fd), undefined);
    } catch (error) {
      close(fd);
      throw error;
    }
  }

  entries(): UpperFile[] {
    const names = readdirSync(`/proc/self/fd/${this.#fd}`, { encoding: 'buffer' }).map((name) => latin1(name));
    return names.sort().flatMap((name) => {
      try {
        return [this.#entry(name)];
      } catch (error) {
        // Removed since it was listed, from a mount that nobody froze.
        if (isErrno(error, 'ENOENT')) return [];
        throw error;
      }
    });
  }

  openFolder(name: string): UpperFolder {
    return new DiskFolder(openat(this.#fd, latin1Bytes(name), FOLDER), joinPath(this.#path, name), this.#privileged);
  }

  openFile(name: string): number {
    const fd = openat(this.#fd, latin1Bytes(name), FILE);
    if ((statx(fd, NOTHING, AT.EMPTY_PATH).mode & S_IFMT) === S_IFREG) return fd;
    close(fd);
    throw corruptUpper(joinPath(this.#path, name), 'changed while it was read: no regular file any more');
  }

  sha256(name: string): string {
    const fd = this.openFile(name);
    try {
      const hash = createHash('sha256');
      for (let n = readSync(fd, scratch); n > 0; n = readSync(fd, scratch)) hash.update(scratch.subarray(0, n));
      return hash.digest('hex');
    } finally {
      close(fd);
    }
  }

  close(): void {
    close(this.#fd);
  }

  #entry(name: string): UpperFile {
    const bytes = latin1Bytes(name);
    const stats = statx(this.#fd, bytes, AT.SYMLINK_NOFOLLOW);
    // There is no listxattrat(2) before Linux 6.13; the last name of this path is not followed.
    const xattrs = this.#xattrs(Buffer.concat([Buffer.from(`/proc/self/fd/${this.#fd}/`), bytes]));
    const target = (stats.mode & S_IFMT) === S_IFLNK ? latin1(readlinkat(this.#fd, bytes)) : undefined;
    return describe(name, joinPath(this.#path, name), stats, xattrs, target);
  }

  #xattrs(target: XattrTarget): readonly Xattr[] {
    const all = readXattrs(target);
    return this.#privileged ? all.filter(([name]) => !UNPRIVILEGED.test(name)) : all;
  }
}

const scratch = Buffer.allocUnsafeSlow(CHUNK);

function describe(
  name: string,
  path: string,
  stats: Statx,
  xattrs: readonly Xattr[],
  target: string | undefined,
): UpperFile {
  const { mode, uid, gid, size, mtimeSec, mtimeNsec, nlink, ino } = stats;
  const key = `${stats.devMajor}:${stats.devMinor}:${ino}`;
  const type = mode & S_IFMT;
  const rdev = type === S_IFCHR || type === S_IFBLK ? deviceOf(stats, path) : 0;
  return { name, mode, uid, gid, size, mtimeSec, mtimeNsec, rdev, target, xattrs, nlink, key };
}

function deviceOf({ rdevMajor: major, rdevMinor: minor }: Statx, path: string): number {
  if (major > 0xfff || minor > 0xfffff) throw corruptUpper(path, `device ${major}:${minor} is out of range`);
  return ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

function readXattrs(target: XattrTarget): Xattr[] {
  let names: string[];
  try {
    names = listXattrs(target);
  } catch (error) {
    if (isErrno(error, 'EOPNOTSUPP', 'ENOTSUP')) return [];
    throw error;
  }
  return names.flatMap((name) => {
    const value = getXattr(target, name);
    return value === undefined ? [] : [[name, Uint8Array.from(value)] as const];
  });
}
