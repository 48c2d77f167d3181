/** What operations on names do. */
import * as fs from 'node:fs';
import {
  AT,
  AT_FDCWD,
  O,
  fchmodat,
  fchownat,
  getXattr,
  linkat,
  listXattrs,
  makedev,
  mkdirat,
  mknodat,
  openat,
  readlinkat,
  removeXattr,
  renameat2,
  setXattr,
  statx,
  symlinkat,
  unlinkat,
  utimensat,
  type Time,
} from '@layerfs/linux';
import { describeBytes, describeStat } from './describe.js';
import type { Handlers } from './execute.js';
import { readSomeEntries, truncate } from './native.js';
import { list, read, write } from './on-descriptors.js';
import type { GivenTime } from './operation.js';
import { MAX_LENGTH, bytes, type Side } from './side.js';

const UTIME = { now: (1 << 30) - 1, omit: (1 << 30) - 2 } as const;

function timeOf(time: GivenTime): Time {
  return typeof time === 'string' ? { sec: 0, nsec: UTIME[time] } : { sec: time[0], nsec: time[1] };
}

function withFile(side: Side, path: string, flags: number, act: (fd: number) => string): string {
  const fd = openat(AT_FDCWD, side.path(path), flags, 0o644);
  try {
    return act(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** The link itself, or what it leads to. */
const noFollow = (follow: boolean): number => (follow ? 0 : AT.SYMLINK_NOFOLLOW);

/**
 * Never to the size that the file has: that changes no mtime by rights, but on overlayfs it does, for files of lowers only, as
 * they are copied up without their data.
 */
function truncateElsewhere(path: Uint8Array, size: number): void {
  truncate(path, statx(AT_FDCWD, path).size === size ? size + 1 : size);
}

const DT_DIR = 4;

/** Room for a few entries, and at least one. */
const FEW = 320;

function removeTree(folder: Buffer): void {
  const fd = openat(AT_FDCWD, folder, O.DIRECTORY | O.NOFOLLOW);
  try {
    for (let some = readSomeEntries(fd, Buffer.alloc(FEW)); some.length > 0;) {
      for (const [type, name] of some) {
        if (name === '.' || name === '..') continue;
        const path = Buffer.concat([folder, bytes(`/${name}`)]);
        if (type === DT_DIR) removeTree(path);
        else unlinkat(AT_FDCWD, path);
      }
      some = readSomeEntries(fd, Buffer.alloc(FEW));
    }
  } finally {
    fs.closeSync(fd);
  }
  unlinkat(AT_FDCWD, folder, AT.REMOVEDIR);
}

export const ON_PATHS = {
  readfile: (side, { path }) => withFile(side, path, O.NONBLOCK, (fd) => read(side, fd, MAX_LENGTH, null)),
  writefile: (side, { path, flags, length, fill }) =>
    withFile(side, path, flags, (fd) => write(fd, length, fill, null)),
  truncate: (side, { path, size }) => truncateElsewhere(side.path(path), size),
  mkdir: (side, { path, mode }) => mkdirat(AT_FDCWD, side.path(path), mode),
  mknod: (side, { path, mode, device }) => mknodat(AT_FDCWD, side.path(path), mode, makedev(...device)),
  symlink: (side, { target, path }) => symlinkat(bytes(target), AT_FDCWD, side.path(path)),
  readlink: (side, { path }) =>
    `ok ${JSON.stringify(Buffer.from(readlinkat(AT_FDCWD, side.path(path))).toString('latin1'))}`,
  link: (side, { from, to, follow }) =>
    linkat(AT_FDCWD, side.path(from), AT_FDCWD, side.path(to), follow ? AT.SYMLINK_FOLLOW : 0),
  unlink: (side, { path }) => unlinkat(AT_FDCWD, side.path(path)),
  rmdir: (side, { path }) => unlinkat(AT_FDCWD, side.path(path), AT.REMOVEDIR),
  rmtree: (side, { path }) => removeTree(side.path(path)),
  rename: (side, { from, to, flags }) => renameat2(AT_FDCWD, side.path(from), AT_FDCWD, side.path(to), flags),
  chmod: (side, { path, mode }) => fchmodat(AT_FDCWD, side.path(path), mode),
  chown: (side, { path, uid, gid, follow }) => fchownat(AT_FDCWD, side.path(path), uid, gid, noFollow(follow)),
  utimes: (side, { path, atime, mtime, follow }) =>
    utimensat(AT_FDCWD, side.path(path), timeOf(atime), timeOf(mtime), noFollow(follow)),
  setxattr: (side, { target, name, value, flags }) => setXattr(side.target(target), name, bytes(value), flags),
  getxattr: (side, { target, name }) => {
    const value = getXattr(side.target(target), name);
    return value === undefined ? 'ENODATA' : `ok ${describeBytes(value)}`;
  },
  listxattr: (side, { target }) => `ok ${listXattrs(side.target(target)).toSorted().join(' ')}`,
  removexattr: (side, { target, name }) => removeXattr(side.target(target), name),
  stat: (side, { path, follow }) => `ok ${describeStat(statx(AT_FDCWD, side.path(path), noFollow(follow)))}`,
  readdir: (side, { path }) => withFile(side, path, O.DIRECTORY, list),
  access: (side, { path, mode }) => fs.accessSync(side.path(path), mode),
  // Numbers are the filesystem's own business.
  statfs: (side, { path }) => void fs.statfsSync(side.path(path)),
} satisfies Partial<Handlers>;
