import { closeSync, fdatasync, fdatasyncSync, fsync, fsyncSync, openSync, statfsSync, writeSync } from 'node:fs';
import {
  Attr,
  FATTR,
  FOPEN,
  INIT,
  systemErrno,
  type Caller,
  type FileSystem,
  type InitOptions,
  type Negotiated,
  type Reply,
  type SetAttr,
} from '@layerfs/fuse';
import { AT, ErrnoError, O, copyFileRangeAt, errno, fallocate, ioctl, statx, syncfs, type Statx } from '@layerfs/linux';
import { S_IFDIR, S_IFLNK, S_IFREG } from '../../core/tree/format.js';
import { CAP, ProcessRights } from '../process.js';
import type { BackingIds } from '../filesystem/backing.js';
import { Content, withoutPrivileges } from './content.js';
import { CopyUp } from './copy-up.js';
import { Folder, type Inode } from './inodes.js';
import { Listing } from './listing.js';
import type { Lower, LowerNode } from './lower.js';
import { Namespace, type Made } from './namespace.js';
import { FOLDER_SIZE, Union, fillStat } from './union.js';
import type { Upper } from './upper.js';
import { Xattrs } from './xattrs.js';

/** How a union is mounted. */
export interface UnionOptions {
  /** Ask the kernel for passthrough. */
  readonly passthrough: boolean;
  /** 2 when upper or the objects lie on a stacked filesystem. */
  readonly maxStackDepth: number;
  /** The mount is read-only: nothing is ever removed, and folders need not be opened. */
  readonly readOnly?: boolean;
  /** Nothing need survive a crash. */
  readonly volatile: boolean;
  /** Node's event loop of the serving thread gets its turns: what waits for the disk can be answered later. */
  readonly turns: boolean;
  /** Seconds that the kernel may trust what it was told; for good unless told. */
  readonly lifetime?: number;
  /** Extended attributes; there are unless told. */
  readonly xattrs?: boolean;
  /** Access control lists; they count unless told. */
  readonly acl?: boolean;
}

/** Nobody but us changes the mount. */
const FOR_GOOD = 10 * 365 * 86_400;
const O_ACCMODE = 3;
/** A small file on a disk that takes so few milliseconds is waited for: handing it to another thread takes as long. */
const QUICK_FLUSH = 3;
const SMALL_FLUSH = 8 << 20;
const LARGE_CUT = 8 << 20;
const UTIME_NOW = 0x3fffffff;
const UTIME_OMIT = 0x3ffffffe;
const WRITE_KILL_SUIDGID = 4;
/** What SETATTR may change. */
const CHANGES = FATTR.MODE | FATTR.UID | FATTR.GID | FATTR.SIZE | FATTR.ATIME | FATTR.MTIME | FATTR.KILL_SUIDGID;
/** One COPY_FILE_RANGE is answered after at most so many bytes: the caller goes on with the rest. */
const MAX_COPY = 16 << 20;
/** FS_IOC_GETFLAGS and FS_IOC_FSGETXATTR, FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR, with the bytes that they give or take. */
const GET_FLAGS = new Map([
  [0x80086601, 4],
  [0x801c581f, 28],
]);
const SET_FLAGS = new Map([
  [0x40086602, { bytes: 4, protects: 0x30 }],
  [0x401c5820, { bytes: 28, protects: 0x18 }],
]);
const EMPTY = new Uint8Array();

/** A writable union as a file system: an upper folder over a lower. */
export class UnionFileSystem implements FileSystem {
  readonly init: InitOptions;
  readonly #union: Union;
  readonly #content: Content;
  readonly #copyUp: CopyUp;
  readonly #namespace: Namespace;
  readonly #xattrs: Xattrs;
  readonly #listing: Listing;
  readonly #attr = new Attr();
  /** The file whose capabilities were just taken away. */
  #killed: Inode | LowerNode | undefined;
  readonly #volatile: boolean;
  #flushMillis = 0;
  readonly #turns: boolean;
  readonly #trust: number;
  readonly #hasXattrs: boolean;
  readonly #readOnly: boolean;
  /** The kernel opens folders without asking once it was told that there is no such operation. */
  #freeOpendir = false;

  constructor(lower: Lower, upper: Upper, options: UnionOptions) {
    this.#union = new Union(lower, upper);
    this.#volatile = options.volatile;
    this.#turns = options.turns;
    this.#trust = options.lifetime ?? FOR_GOOD;
    this.#hasXattrs = options.xattrs ?? true;
    this.#readOnly = options.readOnly ?? false;
    this.#copyUp = new CopyUp(this.#union, !options.volatile);
    this.#content = new Content(this.#union, this.#copyUp);
    this.#namespace = new Namespace(this.#union, this.#copyUp, (nodeid) => this.#content.isOpen(nodeid));
    this.#xattrs = new Xattrs(this.#union, this.#copyUp);
    this.#listing = new Listing(this.#union, (node) => this.#lifetime(this.#union.nodeid(node), node));
    this.init = {
      capabilities: [
        INIT.ASYNC_READ,
        INIT.PARALLEL_DIROPS,
        INIT.MAX_PAGES,
        INIT.CACHE_SYMLINKS,
        INIT.EXPLICIT_INVAL_DATA,
        INIT.DO_READDIRPLUS,
        INIT.ATOMIC_O_TRUNC,
        INIT.HANDLE_KILLPRIV_V2,
        INIT.SETXATTR_EXT,
        ...((options.acl ?? true) && (options.xattrs ?? true) ? [INIT.POSIX_ACL] : []),
        INIT.DONT_MASK,
        INIT.BIG_WRITES,
        INIT.ALLOW_IDMAP,
        ...(options.passthrough ? [INIT.PASSTHROUGH] : []),
      ],
      maxStackDepth: options.maxStackDepth,
    };
  }

  ready({ offered }: Negotiated): void {
    // Where names come and go, what a listing holds must be let go of when it ends, so that its end must be told.
    this.#freeOpendir = this.#readOnly && offered.has(INIT.NO_OPENDIR_SUPPORT);
  }

  /** To be called after INIT, before the first request. @param invalidate makes the kernel drop an inode's attributes */
  serveWith(ids: BackingIds | undefined, invalidate: (nodeid: number) => void): void {
    this.#content.serveWith(ids, invalidate);
  }

  rest(): void {
    this.#union.lower.rest?.();
  }

  spare(): boolean {
    return this.#union.lower.spare?.() ?? false;
  }

  destroy(): void {
    this.#content.close();
    this.#union.close();
  }

  #lifetime(nodeid: number, node: Inode | LowerNode): number {
    if (typeof node === 'number') return this.#trust;
    // An old nodeid hears of nothing. (The kernel knows of what it writes itself; but for mmap, of which it is told at the end.)
    return nodeid !== node.nodeid ? 0 : this.#trust;
  }

  #entry(node: Inode | LowerNode, reply: Reply): void {
    const nodeid = this.#union.nodeid(node);
    this.#union.fill(node, this.#attr);
    this.#union.table.looked(nodeid);
    reply.entry(nodeid, this.#attr, this.#trust, this.#lifetime(nodeid, node));
  }

  #madeEntry({ inode, stat }: Made, reply: Reply): void {
    this.#fillMade(inode, stat);
    reply.entry(inode.nodeid, this.#attr, this.#trust, this.#trust);
  }

  #fillMade(inode: Inode, stat: Statx): void {
    fillStat(stat, this.#attr);
    this.#attr.ino = inode.ino;
    if (inode instanceof Folder) {
      this.#attr.nlink = 2;
      this.#attr.size = Math.max(this.#attr.size, FOLDER_SIZE);
    }
    this.#union.table.looked(inode.nodeid);
  }

  lookup(caller: Caller, name: string, reply: Reply): void {
    if (name.length > 255) throw new ErrnoError(errno.ENAMETOOLONG, 'lookup');
    const folder = this.#union.find(caller.nodeid);
    if (this.#union.type(folder) !== S_IFDIR) throw new ErrnoError(errno.ENOTDIR, 'lookup');
    const node = this.#union.lookup(folder, name);
    if (node === undefined) reply.negative(this.#trust);
    else this.#entry(node, reply);
  }

  forget(nodeid: number, count: number): void {
    this.#union.table.forget(nodeid, count);
  }

  getattr(caller: Caller, _fh: number | undefined, reply: Reply): void {
    this.#attributes(caller.nodeid, this.#union.find(caller.nodeid), reply);
  }

  statx(caller: Caller, reply: Reply): void {
    const node = this.#union.find(caller.nodeid);
    this.#union.fill(node, this.#attr);
    const stat = typeof node === 'number' || !node.upper ? undefined : (node.ghost ?? this.#union.upper.stat(node));
    const birth = stat?.btimeSec === undefined ? undefined : { sec: stat.btimeSec, nsec: stat.btimeNsec ?? 0 };
    reply.statx(this.#attr, this.#lifetime(caller.nodeid, node), birth);
  }

  #attributes(nodeid: number, node: Inode | LowerNode, reply: Reply): void {
    this.#union.fill(node, this.#attr);
    reply.attr(this.#attr, this.#lifetime(nodeid, node));
  }

  setattr(caller: Caller, changes: SetAttr, reply: Reply): void {
    const node = this.#union.find(caller.nodeid);
    const busy = typeof node !== 'number' && node.completing !== undefined;
    // Cutting off little of much copies much as well.
    const copies = (changes.valid & FATTR.SIZE) !== 0 && changes.size >= LARGE_CUT;
    if ((busy || copies) && this.#whenComplete(caller, reply, (later, who) => this.#setattr(who, changes, later)))
      return;
    this.#setattr(caller, changes, reply);
  }

  #setattr(caller: Caller, changes: SetAttr, reply: Reply): void {
    const { valid } = changes;
    const { nodeid } = caller;
    let node = this.#union.find(nodeid);
    if ((valid & FATTR.SIZE) !== 0) node = this.#truncate(nodeid, node, changes);
    // Copied up with the mode that it is to have.
    const withMode = (valid & CHANGES) === FATTR.MODE && (typeof node === 'number' || !node.upper);
    const mode = changes.mode & 0o7777;
    const inode = this.#copyUp.any(node, withMode ? { data: false, mode } : { data: false });
    const { upper } = this.#union;
    if (inode instanceof Folder) inode.heir = undefined;
    if (valid === 0) this.#touched(inode, caller.pid);
    if ((valid & (FATTR.UID | FATTR.GID)) !== 0) {
      upper.chown(inode, (valid & FATTR.UID) === 0 ? -1 : changes.uid, (valid & FATTR.GID) === 0 ? -1 : changes.gid);
    }
    const stat = withMode ? this.#copyUp.takeStat(inode) : undefined;
    if (stat !== undefined) {
      this.#union.fill(inode, this.#attr, stat);
      reply.attr(this.#attr, this.#lifetime(nodeid, inode));
      return;
    }
    if ((valid & FATTR.MODE) !== 0) upper.chmod(inode, mode);
    else if ((valid & FATTR.KILL_SUIDGID) !== 0) this.#dropPrivileges(inode, caller.pid);
    if ((valid & (FATTR.ATIME | FATTR.MTIME)) !== 0) {
      upper.utimens(
        inode,
        time(valid, FATTR.ATIME, FATTR.ATIME_NOW, changes.atimeSec, changes.atimeNsec),
        time(valid, FATTR.MTIME, FATTR.MTIME_NOW, changes.mtimeSec, changes.mtimeNsec),
      );
    }
    this.#attributes(nodeid, inode, reply);
  }

  /**
   * Nothing to be set at all. It comes of chown(path, -1, -1), which takes set-user-ID away like any other, and of a write
   * that does so; and of a write, after a REMOVEXATTR, that takes capabilities away and nothing else.
   */
  #touched(inode: Inode, pid: number): void {
    const killed = this.#killed === inode;
    this.#killed = undefined;
    const { mode, uid } = this.#union.upper.stat(inode);
    if (killed || (mode & 0o6000) === 0) return;
    const rights = new ProcessRights(pid);
    const mayChown = inode.writers > 0 || rights.isUser(uid) || rights.has(CAP.FOWNER);
    if (!mayChown) throw new ErrnoError(errno.EPERM, 'chown');
    this.#union.upper.chown(inode, -1, -1);
  }

  #truncate(nodeid: number, node: Inode | LowerNode, { valid, size }: SetAttr): Inode {
    this.#union.fill(node, this.#attr);
    const before = this.#attr.size;
    const inode = this.#content.forWriting(nodeid, node, Math.min(size, before));
    // truncate(2) to the same size changes no time, ftruncate(2) does.
    if ((valid & FATTR.FH) !== 0 || size !== before) this.#content.truncate(inode, size);
    return inode;
  }

  #dropPrivileges(inode: Inode, pid: number): void {
    const { mode, gid } = this.#union.upper.stat(inode);
    const without = withoutPrivileges(mode, () => {
      const rights = new ProcessRights(pid);
      return rights.has(CAP.FSETID) || rights.inGroup(gid);
    });
    if (without !== mode) this.#union.upper.chmod(inode, without & 0o7777);
  }

  #dropSetgid(nodeid: number): void {
    const inode = this.#union.find(nodeid) as Inode;
    const { mode } = this.#union.upper.stat(inode);
    if ((mode & 0o2000) !== 0) this.#union.upper.chmod(inode, mode & 0o5777);
  }

  /** For writes of which the kernel does not say whether they take privileges away: not those of who may set them. */
  #writtenBy(caller: Caller, nodeid: number): void {
    const node = this.#union.find(nodeid);
    if (typeof node === 'number' || (this.#union.upper.stat(node).mode & 0o6000) === 0) return;
    if (!new ProcessRights(caller.pid).has(CAP.FSETID)) this.#dropPrivileges(node, caller.pid);
  }

  readlink(caller: Caller, reply: Reply): void {
    const node = this.#union.find(caller.nodeid);
    if (this.#union.type(node) !== S_IFLNK) throw new ErrnoError(errno.EINVAL, 'readlink');
    if (typeof node !== 'number' && node.upper) reply.data(this.#union.upper.readlink(node));
    else reply.data(this.#union.lower.readlink(typeof node === 'number' ? node : node.lower));
  }

  symlink(caller: Caller, name: string, target: string, reply: Reply): void {
    this.#madeEntry(this.#namespace.symlink(this.#union.folder(caller.nodeid), name, target, caller), reply);
  }

  mknod(caller: Caller, name: string, mode: number, rdev: number, umask: number, reply: Reply): void {
    const maker = { caller, mode, umask };
    this.#madeEntry(this.#namespace.mknod(this.#union.folder(caller.nodeid), name, maker, rdev), reply);
  }

  mkdir(caller: Caller, name: string, mode: number, umask: number, reply: Reply): void {
    this.#madeEntry(this.#namespace.mkdir(this.#union.folder(caller.nodeid), name, { caller, mode, umask }), reply);
  }

  unlink(caller: Caller, name: string, reply: Reply): void {
    this.#namespace.unlink(this.#union.folder(caller.nodeid), name);
    reply.ok();
  }

  rmdir(caller: Caller, name: string, reply: Reply): void {
    this.#namespace.rmdir(this.#union.folder(caller.nodeid), name);
    reply.ok();
  }

  rename(caller: Caller, name: string, newParent: number, newName: string, flags: number, reply: Reply): void {
    const [from, to] = [this.#union.folder(caller.nodeid), this.#union.folder(newParent)];
    this.#namespace.rename(from, name, to, newName, flags);
    reply.ok();
  }

  link(caller: Caller, nodeid: number, newName: string, reply: Reply): void {
    const inode = this.#namespace.link(this.#union.find(nodeid), this.#union.folder(caller.nodeid), newName);
    this.#entry(inode, reply);
  }

  open(caller: Caller, flags: number, kill: boolean, reply: Reply): void {
    const writes = (flags & O_ACCMODE) !== 0 && (flags & O.TRUNC) === 0;
    if (writes && this.#whenComplete(caller, reply, (later, who) => this.#open(who, flags, kill, later))) return;
    if (this.#whenVerified(caller, reply, (later, who) => this.#open(who, flags, kill, later))) return;
    this.#open(caller, flags, kill, reply);
  }

  /** Puts an OPEN aside whose lower file is verified first, if that takes long. */
  #whenVerified(caller: Caller, reply: Reply, action: (reply: Reply, caller: Caller) => void): boolean {
    const union = this.#union;
    if (union.lower.verifyLater === undefined) return false;
    const node = union.find(caller.nodeid);
    const lower = typeof node === 'number' ? node : node.upper && !node.metacopy ? 0 : node.lower;
    if (lower === 0 || union.type(node) !== S_IFREG) return false;
    const { uid, gid, pid, nodeid, uniqueLow, uniqueHigh } = caller;
    const who = { uid, gid, pid, nodeid, uniqueLow, uniqueHigh };
    let later: Reply | undefined;
    const begun = union.lower.verifyLater(lower, () => {
      if (later === undefined) return;
      try {
        action(later, who);
      } catch (failure) {
        later.error(systemErrno(failure) ?? errno.EIO);
      }
    });
    if (begun) later = reply.defer();
    return begun;
  }

  /**
   * Puts a request aside whose file has much content to be brought to upper first.
   * @returns whether it did; then `action` answers later
   */
  #whenComplete(caller: Caller, reply: Reply, action: (reply: Reply, caller: Caller) => void): boolean {
    if (!this.#turns) return false;
    const { uid, gid, pid, nodeid, uniqueLow, uniqueHigh } = caller;
    // The request's memory is the next one's by then.
    const who = { uid, gid, pid, nodeid, uniqueLow, uniqueHigh };
    let later: Reply | undefined;
    const begun = this.#content.beginLarge(nodeid, (error) => {
      if (later === undefined) return;
      try {
        if (error !== undefined) throw error;
        action(later, who);
      } catch (failure) {
        later.error(systemErrno(failure) ?? errno.EIO);
      }
    });
    if (begun) later = reply.defer();
    return begun;
  }

  #open(caller: Caller, flags: number, kill: boolean, reply: Reply): void {
    const opened = this.#content.open(caller.nodeid, flags);
    if (kill) this.#dropPrivileges(this.#union.find(caller.nodeid) as Inode, caller.pid);
    reply.open(opened.fh, opened.flags, opened.id);
  }

  create(caller: Caller, name: string, flags: number, mode: number, umask: number, reply: Reply): void {
    const maker = { caller, mode, umask };
    this.#created(this.#namespace.create(this.#union.folder(caller.nodeid), name, maker), flags, reply);
  }

  tmpfile(caller: Caller, flags: number, mode: number, umask: number, reply: Reply): void {
    const folder = this.#union.folder(caller.nodeid);
    this.#created(this.#namespace.tmpfile(folder, { caller, mode, umask }), flags, reply);
  }

  #created({ inode, stat, fd }: Made & { readonly fd?: number }, flags: number, reply: Reply): void {
    // It is new: there is nothing to cut, and nothing to look at.
    const { fh, flags: how, id } = this.#content.openNew(inode, flags, stat.mode, fd);
    this.#fillMade(inode, stat);
    reply.create(inode.nodeid, this.#attr, this.#trust, this.#trust, fh, how, id);
  }

  read(_caller: Caller, fh: number, offset: number, size: number, reply: Reply): void {
    this.#content.read(fh, offset, size, reply);
  }

  write(caller: Caller, fh: number, offset: number, data: Uint8Array, flags: number, reply: Reply): void {
    const fd = this.#content.descriptor(fh);
    for (let done = 0; done < data.length;) done += writeSync(fd, data, done, data.length - done, offset + done);
    if ((flags & WRITE_KILL_SUIDGID) !== 0) this.#dropPrivileges(this.#union.find(caller.nodeid) as Inode, caller.pid);
    reply.written(data.length);
  }

  release(_caller: Caller, fh: number, _flags: number, reply: Reply): void {
    this.#content.release(fh);
    reply.ok();
  }

  fsync(_caller: Caller, fh: number, dataOnly: boolean, reply: Reply): void {
    const fd = this.#content.descriptor(fh);
    this.#content.written(fh);
    if (this.#volatile || fd < 0) return reply.ok();
    const flush = dataOnly ? fdatasyncSync : fsyncSync;
    if (!this.#turns || (this.#flushMillis < QUICK_FLUSH && statx(fd, '', AT.EMPTY_PATH).size < SMALL_FLUSH)) {
      const started = performance.now();
      flush(fd);
      this.#flushed(started);
      return reply.ok();
    }
    // Waits for the disk: others are served meanwhile.
    const later = reply.defer();
    const started = performance.now();
    (dataOnly ? fdatasync : fsync)(fd, (error) => {
      this.#flushed(started);
      if (error === null) later.ok();
      else later.error(systemErrno(error) ?? errno.EIO);
    });
  }

  /** How long this disk takes, of late. */
  #flushed(started: number): void {
    this.#flushMillis = (this.#flushMillis + performance.now() - started) / 2;
  }

  opendir(caller: Caller, _flags: number, reply: Reply): void {
    if (this.#union.type(this.#union.find(caller.nodeid)) !== S_IFDIR) throw new ErrnoError(errno.ENOTDIR, 'opendir');
    if (this.#freeOpendir) reply.error(errno.ENOSYS);
    else reply.open(this.#listing.open(), FOPEN.CACHE_DIR | FOPEN.KEEP_CACHE);
  }

  readdir(caller: Caller, fh: number, offset: number, size: number, reply: Reply): void {
    this.#listing.read(caller.nodeid, fh, offset, size, false, reply);
  }

  readdirplus(caller: Caller, fh: number, offset: number, size: number, reply: Reply): void {
    this.#listing.read(caller.nodeid, fh, offset, size, true, reply);
  }

  releasedir(_caller: Caller, fh: number, _flags: number, reply: Reply): void {
    this.#listing.release(fh);
    reply.ok();
  }

  fsyncdir(caller: Caller, _fh: number, _dataOnly: boolean, reply: Reply): void {
    const node = this.#union.find(caller.nodeid);
    if (!this.#volatile && node instanceof Folder && node.upper) {
      const fd = openSync(`/proc/self/fd/${this.#union.upper.dir(node)}/.`, 'r');
      try {
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    }
    reply.ok();
  }

  statfs(_caller: Caller, reply: Reply): void {
    const { bsize, blocks, bfree, bavail, files, ffree } = statfsSync(`/proc/self/fd/${this.#union.upper.root}/.`);
    reply.statfs({ bsize, blocks, bfree, bavail, files, ffree, namelen: 255 });
  }

  setxattr(caller: Caller, name: string, value: Uint8Array, flags: number, kill: boolean, reply: Reply): void {
    if (!this.#hasXattrs) throw new ErrnoError(errno.ENOTSUP, 'xattr');
    this.#xattrs.set(this.#union.find(caller.nodeid), name, value, flags);
    if (kill) this.#dropSetgid(caller.nodeid);
    reply.ok();
  }

  getxattr(caller: Caller, name: string, size: number, reply: Reply): void {
    if (!this.#hasXattrs) throw new ErrnoError(errno.ENOTSUP, 'xattr');
    const value = this.#xattrs.get(this.#union.find(caller.nodeid), name);
    if (value === undefined) reply.error(errno.ENODATA);
    else reply.xattr(value, size);
  }

  listxattr(caller: Caller, size: number, reply: Reply): void {
    if (!this.#hasXattrs) throw new ErrnoError(errno.ENOTSUP, 'xattr');
    reply.xattr(this.#xattrs.list(this.#union.find(caller.nodeid), caller.pid), size);
  }

  removexattr(caller: Caller, name: string, reply: Reply): void {
    if (!this.#hasXattrs) throw new ErrnoError(errno.ENOTSUP, 'xattr');
    this.#xattrs.remove(this.#union.find(caller.nodeid), name);
    this.#killed = name === 'security.capability' ? this.#union.find(caller.nodeid) : undefined;
    reply.ok();
  }

  fallocate(caller: Caller, fh: number, offset: number, length: number, mode: number, reply: Reply): void {
    fallocate(this.#content.descriptor(fh), mode, offset, length);
    this.#writtenBy(caller, caller.nodeid);
    reply.ok();
  }

  lseek(_caller: Caller, fh: number, offset: number, whence: number, reply: Reply): void {
    reply.offset(this.#content.seek(fh, offset, whence));
  }

  copyFileRange(
    caller: Caller,
    fh: number,
    offset: number,
    toNodeid: number,
    toFh: number,
    toOffset: number,
    length: number,
    reply: Reply,
  ): void {
    const from = this.#content.descriptor(fh);
    if (from < 0) return reply.written(0);
    const to = this.#content.descriptor(toFh);
    const count = copyFileRangeAt(from, offset, to, toOffset, Math.min(length, MAX_COPY));
    this.#writtenBy(caller, toNodeid);
    reply.written(count);
  }

  /** Flags of chattr(1), which are those of the file in upper. */
  ioctl(caller: Caller, _fh: number, command: number, data: Uint8Array, _outSize: number, reply: Reply): void {
    const node = this.#union.find(caller.nodeid);
    const size = GET_FLAGS.get(command);
    if (size !== undefined) {
      const out = new Uint8Array(size);
      if (typeof node !== 'number' && node.upper) this.#upperFlags(node, command, out);
      return reply.ioctl(0, out);
    }
    const taken = SET_FLAGS.get(command);
    if (taken === undefined) return reply.error(errno.ENOTTY);
    if (data.length < taken.bytes) throw new ErrnoError(errno.EINVAL, 'ioctl');
    // Immutable and append-only would bind us as well, and whoever removes the snapshot.
    if ((data[0] & taken.protects) !== 0) throw new ErrnoError(errno.EOPNOTSUPP, 'ioctl');
    const flags = Uint8Array.from(data.subarray(0, taken.bytes));
    this.#upperFlags(this.#copyUp.any(node, { data: true }), command, flags);
    reply.ioctl(0, EMPTY);
  }

  #upperFlags(inode: Inode, command: number, flags: Uint8Array): void {
    const fd = this.#union.upper.open(inode, 0);
    try {
      ioctl(fd, command, flags);
    } finally {
      closeSync(fd);
    }
  }

  syncfs(_caller: Caller, reply: Reply): void {
    if (!this.#volatile) syncfs(this.#union.upper.root);
    reply.ok();
  }
}

function time(valid: number, set: number, now: number, sec: number, nsec: number): { sec: number; nsec: number } {
  if ((valid & set) === 0) return { sec: 0, nsec: UTIME_OMIT };
  return (valid & now) !== 0 ? { sec: 0, nsec: UTIME_NOW } : { sec, nsec };
}
