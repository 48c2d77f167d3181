import {
  Attr,
  FOPEN,
  INIT,
  type Caller,
  type FileSystem,
  type InitOptions,
  type Negotiated,
  type Reply,
} from '@layerfs/fuse';
import { ErrnoError, errno, seekData, seekHole } from '@layerfs/linux';
import { latin1Bytes } from '../../core/bytes.js';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../core/tree/format.js';
import type { Tree } from '../../core/tree/tree.js';
import { visibleXattrs } from '../process.js';
import { treeStatfs } from './statfs.js';
import type { BackingPool } from './backing.js';
import type { ObjectReader } from './objects.js';

/** How file content gets to readers: read by the kernel itself, or by us. */
export interface Content {
  readonly reader: ObjectReader;
  /** Absent: no passthrough. */
  readonly backing?: BackingPool;
}

/** How a tree is mounted. */
export interface TreeFileSystemOptions {
  /** Ask the kernel for passthrough. */
  readonly passthrough: boolean;
  /** Whether the mount has this option: the kernel checks access by mode and owner. */
  readonly defaultPermissions: boolean;
  /** 2 when the objects lie on a stacked filesystem (overlayfs), otherwise 1. */
  readonly maxStackDepth?: number;
}

/**
 * How long the kernel may trust what it was told, in seconds: ten years. Nobody changes a tree, so it need never
 * ask twice; what the cache drops for want of memory is asked again all the same.
 */
export const LIFETIME = 10 * 365 * 86_400;

const FOLDER_SIZE = 4096;
const DT_DIR = 4;
const DOTS = latin1Bytes('..');
/** readdir offsets: 1 and 2 continue behind `.` and `..`, then one for each dirent. */
const FIRST_ENTRY = 2;
const MAX_NAME = 255;
const O_ACCMODE = 3;
const O_TRUNC = 0o1000;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/**
 * A tree as a read-only file system. nodeid, st_ino and the tree's inode number are one number, so nothing is
 * remembered between requests: FORGET needs no answer and no table, and a restarted server would give the same nodeids.
 */
export class TreeFileSystem implements FileSystem {
  readonly init: InitOptions;
  readonly #tree: Tree;
  readonly #attr = new Attr();
  #content: Content | undefined;
  #offered: ReadonlySet<number> = new Set();
  #statfs: ReturnType<typeof treeStatfs> | undefined;
  readonly #hasXattrs: boolean;

  constructor(tree: Tree, options: TreeFileSystemOptions) {
    this.#tree = tree;
    const pool = tree.sections.xattrs;
    this.#hasXattrs = pool.length > 0;
    this.init = {
      capabilities: [
        INIT.ASYNC_READ,
        INIT.PARALLEL_DIROPS,
        INIT.MAX_PAGES,
        INIT.CACHE_SYMLINKS,
        INIT.EXPLICIT_INVAL_DATA,
        INIT.EXPORT_SUPPORT,
        // The kernel refuses it without: idmapped owners mean nothing to us.
        ...(options.defaultPermissions ? [INIT.ALLOW_IDMAP] : []),
        // Without READDIRPLUS_AUTO: it would list the rest of a large folder plainly and look up each name later.
        INIT.DO_READDIRPLUS,
        ...(options.passthrough ? [INIT.PASSTHROUGH] : []),
        // Costs a GETXATTR for each inode whose access is checked, so only for images that have ACLs.
        ...(poolText(pool).includes('system.posix_acl_') ? [INIT.POSIX_ACL] : []),
      ],
      maxStackDepth: options.maxStackDepth ?? 1,
    };
  }

  /** Says where content comes from; to be called before the first request but INIT. */
  serveFrom(content: Content): void {
    this.#content = content;
  }

  ready(negotiated: Negotiated): void {
    this.#offered = negotiated.offered;
  }

  rest(): void {
    this.#content?.reader.folder.rest();
  }

  spare(): boolean {
    return this.#content?.reader.folder.readAhead() ?? false;
  }

  destroy(): void {
    this.#content?.reader.close();
  }

  lookup(caller: Caller, name: string, reply: Reply): void {
    const parent = this.#folder(caller.nodeid, name);
    if (name.length > MAX_NAME) throw new ErrnoError(errno.ENAMETOOLONG, 'lookup');
    // Only for file handles (EXPORT_SUPPORT): otherwise the kernel follows these itself.
    if (name === '.') return this.#entry(parent, reply);
    if (name === '..') return this.#entry(this.#tree.parent(parent), reply);
    const dirent = this.#tree.lookup(parent, name);
    const ino = dirent < 0 ? 0 : this.#tree.direntInode(dirent);
    if (ino === 0) reply.negative(LIFETIME);
    else this.#entry(ino, reply);
  }

  getattr(caller: Caller, _fh: number | undefined, reply: Reply): void {
    this.#fill(this.#inode(caller.nodeid));
    reply.attr(this.#attr, LIFETIME);
  }

  readlink(caller: Caller, reply: Reply): void {
    reply.data(this.#tree.symlinkBytes(this.#typed(caller.nodeid, S_IFLNK, errno.EINVAL)));
  }

  open(caller: Caller, flags: number, _kill: boolean, reply: Reply): void {
    const ino = this.#typed(caller.nodeid, S_IFREG, errno.EISDIR);
    if ((flags & O_ACCMODE) !== 0 || (flags & O_TRUNC) !== 0) throw readOnly('open');
    if (this.#content?.reader.folder.verifies === true) return this.#openVerified(this.#content, ino, reply);
    const backing = this.#content?.backing;
    if (backing === undefined) {
      // "No such operation" is the kernel's sign to open and close without us from now on, with cached pages kept.
      if (this.#offered.has(INIT.NO_OPEN_SUPPORT)) reply.error(errno.ENOSYS);
      else reply.open(0, FOPEN.KEEP_CACHE);
      return;
    }
    const object = this.#tree.objectIndex(ino);
    if (object < 0) return reply.open(0, FOPEN.KEEP_CACHE);
    this.#openBacking(backing, object, ino, reply);
  }

  #openBacking(backing: BackingPool, object: number, ino: number, reply: Reply): void {
    const id = backing.acquire(object, this.#tree.size(ino));
    // The handle names the object, so that RELEASE needs no table of handles.
    reply.open(object + 1, id === 0 ? FOPEN.KEEP_CACHE : FOPEN.PASSTHROUGH, id);
  }

  /** OPEN of content that is verified first. Every one comes to us. */
  #openVerified({ reader, backing }: Content, ino: number, reply: Reply): void {
    const object = this.#tree.objectIndex(ino);
    if (object < 0) return reply.open(0, FOPEN.KEEP_CACHE);
    const size = this.#tree.size(ino);
    const answer = (to: Reply): void => {
      reader.folder.check(object, size);
      if (backing === undefined) to.open(0, FOPEN.KEEP_CACHE);
      else this.#openBacking(backing, object, ino, to);
    };
    let later: Reply | undefined;
    const begun = reader.folder.verifyLater(object, size, () => {
      if (later === undefined) return;
      try {
        answer(later);
      } catch (error) {
        later.error(error instanceof ErrnoError ? error.errno : errno.EIO);
      }
    });
    if (begun) later = reply.defer();
    else answer(reply);
  }

  release(_caller: Caller, fh: number, _flags: number, reply: Reply): void {
    if (fh > 0) this.#content?.backing?.release(fh - 1);
    reply.ok();
  }

  read(caller: Caller, _fh: number, offset: number, size: number, reply: Reply): void {
    const ino = this.#typed(caller.nodeid, S_IFREG, errno.EISDIR);
    const length = this.#tree.size(ino);
    const want = Math.min(size, length - offset);
    const object = this.#tree.objectIndex(ino);
    if (object < 0 || want <= 0) return reply.data(NOTHING);
    reply.readFrom(this.#descriptor(object, length), offset, want);
    // Shorter than the tree says: cut after it was opened. The kernel would take a short answer for the end.
    if (reply.errno === 0 && reply.length - HEADER < want) reply.error(errno.EIO);
  }

  lseek(caller: Caller, _fh: number, offset: number, whence: number, reply: Reply): void {
    const ino = this.#typed(caller.nodeid, S_IFREG, errno.EINVAL);
    const object = this.#tree.objectIndex(ino);
    const size = this.#tree.size(ino);
    if (object < 0 || offset < 0 || offset >= size) throw new ErrnoError(errno.ENXIO, 'lseek');
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw new ErrnoError(errno.EINVAL, 'lseek');
    const fd = this.#descriptor(object, size);
    const found = whence === SEEK_DATA ? seekData(fd, offset) : seekHole(fd, offset);
    if (found === undefined) throw new ErrnoError(errno.ENXIO, 'lseek');
    reply.offset(found);
  }

  opendir(caller: Caller, _flags: number, reply: Reply): void {
    this.#folder(caller.nodeid);
    // As for OPEN: no OPENDIR and no RELEASEDIR any more, and listings are cached.
    if (this.#offered.has(INIT.NO_OPENDIR_SUPPORT)) reply.error(errno.ENOSYS);
    else reply.open(0, FOPEN.CACHE_DIR | FOPEN.KEEP_CACHE);
  }

  readdir(caller: Caller, _fh: number, offset: number, size: number, reply: Reply): void {
    const tree = this.#tree;
    const folder = this.#folder(caller.nodeid);
    reply.directory(size);
    if (offset < 1 && !reply.addDirent(folder, DT_DIR, 1, DOTS, 0, 1)) return;
    if (offset < 2 && !reply.addDirent(tree.parent(folder), DT_DIR, 2, DOTS, 0, 2)) return;
    const first = tree.firstDirent(folder);
    const count = tree.childCount(folder);
    for (let i = Math.max(0, offset - FIRST_ENTRY); i < count; i++) {
      const dirent = first + i;
      const start = tree.direntNameOffset(dirent);
      const length = tree.direntNameLength(dirent);
      const next = i + FIRST_ENTRY + 1;
      if (!reply.addDirent(tree.direntInode(dirent), tree.direntType(dirent), next, tree.names, start, length)) return;
    }
  }

  readdirplus(caller: Caller, _fh: number, offset: number, size: number, reply: Reply): void {
    const tree = this.#tree;
    const attr = this.#attr;
    const folder = this.#folder(caller.nodeid);
    reply.directory(size);
    for (let dots = offset + 1; dots <= FIRST_ENTRY; dots++) {
      // nodeid 0: the kernel knows both already and counts no lookup.
      this.#fill(dots === 1 ? folder : tree.parent(folder));
      if (!reply.addDirentPlus(0, attr, 0, DT_DIR, dots, DOTS, 0, dots)) return;
    }
    const first = tree.firstDirent(folder);
    const count = tree.childCount(folder);
    for (let i = Math.max(0, offset - FIRST_ENTRY); i < count; i++) {
      const dirent = first + i;
      const ino = tree.direntInode(dirent);
      const start = tree.direntNameOffset(dirent);
      const length = tree.direntNameLength(dirent);
      const next = i + FIRST_ENTRY + 1;
      this.#fill(ino);
      if (!reply.addDirentPlus(ino, attr, LIFETIME, tree.direntType(dirent), next, tree.names, start, length)) return;
    }
  }

  statfs(_caller: Caller, reply: Reply): void {
    reply.statfs((this.#statfs ??= treeStatfs(this.#tree)));
  }

  getxattr(caller: Caller, name: string, size: number, reply: Reply): void {
    const ino = this.#inode(caller.nodeid);
    // Programs and the kernel ask for labels, capabilities and ACLs of every file: ENOSYS ends that for good.
    if (!this.#hasXattrs) return reply.error(errno.ENOSYS);
    const value = this.#tree.hasXattrs(ino) ? this.#tree.xattr(ino, name) : undefined;
    if (value === undefined) throw new ErrnoError(errno.ENODATA, 'getxattr');
    reply.xattr(value, size);
  }

  listxattr(caller: Caller, size: number, reply: Reply): void {
    const ino = this.#inode(caller.nodeid);
    const names = this.#tree.hasXattrs(ino) ? this.#tree.xattrs(ino).map(([name]) => name) : [];
    const shown = visibleXattrs(names, caller.pid).map((name) => `${name}\0`);
    reply.xattr(latin1Bytes(shown.join('')), size);
  }

  // The mount is read-only, so the kernel refuses changes before they get here. Root can remount it writable: then these do.

  setattr(_caller: Caller, _changes: unknown, _reply: Reply): void {
    throw readOnly('setattr');
  }
  symlink(): void {
    throw readOnly('symlink');
  }
  mknod(): void {
    throw readOnly('mknod');
  }
  mkdir(): void {
    throw readOnly('mkdir');
  }
  unlink(): void {
    throw readOnly('unlink');
  }
  rmdir(): void {
    throw readOnly('rmdir');
  }
  rename(): void {
    throw readOnly('rename');
  }
  link(): void {
    throw readOnly('link');
  }
  create(): void {
    throw readOnly('create');
  }
  tmpfile(): void {
    throw readOnly('tmpfile');
  }
  write(): void {
    throw readOnly('write');
  }
  setxattr(): void {
    throw readOnly('setxattr');
  }
  removexattr(): void {
    throw readOnly('removexattr');
  }
  fallocate(): void {
    throw readOnly('fallocate');
  }
  copyFileRange(): void {
    throw readOnly('copy_file_range');
  }

  #entry(ino: number, reply: Reply): void {
    this.#fill(ino);
    reply.entry(ino, this.#attr, LIFETIME, LIFETIME);
  }

  #fill(ino: number): void {
    const tree = this.#tree;
    const attr = this.#attr;
    const mode = tree.mode(ino);
    const size = (mode & S_IFMT) === S_IFDIR ? FOLDER_SIZE : tree.size(ino);
    attr.ino = ino;
    attr.mode = mode;
    attr.size = size;
    attr.blocks = Math.ceil(size / 512);
    attr.nlink = tree.nlink(ino);
    attr.uid = tree.uid(ino);
    attr.gid = tree.gid(ino);
    attr.rdev = tree.rdev(ino);
    attr.atimeSec = attr.mtimeSec = attr.ctimeSec = tree.mtimeSec(ino);
    attr.atimeNsec = attr.mtimeNsec = attr.ctimeNsec = tree.mtimeNsec(ino);
  }

  #inode(nodeid: number): number {
    if (!this.#tree.has(nodeid)) throw new ErrnoError(errno.ESTALE, 'nodeid');
    return nodeid;
  }

  #typed(nodeid: number, type: number, otherwise: number): number {
    const ino = this.#inode(nodeid);
    if ((this.#tree.mode(ino) & S_IFMT) !== type) throw new ErrnoError(otherwise, 'nodeid');
    return ino;
  }

  #folder(nodeid: number, name?: string): number {
    // A file handle's inode need not be a folder when it is asked for itself.
    if (name === '.') return this.#inode(nodeid);
    return this.#typed(nodeid, S_IFDIR, errno.ENOTDIR);
  }

  #descriptor(object: number, size: number): number {
    if (this.#content === undefined) throw new ErrnoError(errno.EIO, 'read');
    return this.#content.reader.descriptor(object, size);
  }
}

function poolText(pool: Uint8Array): Buffer {
  return Buffer.from(pool.buffer, pool.byteOffset, pool.byteLength);
}

const NOTHING = new Uint8Array();
const HEADER = 16;

function readOnly(operation: string): ErrnoError {
  return new ErrnoError(errno.EROFS, operation);
}
