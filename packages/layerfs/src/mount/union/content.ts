import { ftruncateSync } from 'node:fs';
import { Attr, FOPEN, type Reply } from '@layerfs/fuse';
import { ErrnoError, O, close, errno, seekData, seekHole } from '@layerfs/linux';
import { S_IFMT, S_IFREG } from '../../core/tree/format.js';
import { BackingPool, READ_BY_US, type BackingIds } from '../filesystem/backing.js';
import type { CopyUp } from './copy-up.js';
import type { Inode } from './inodes.js';
import type { LowerNode } from './lower.js';
import type { Union } from './union.js';

const O_ACCMODE = 3;
const DAY = 86_400;
const UTIME_NOW = 0x3fffffff;
const UTIME_OMIT = 0x3ffffffe;
/** Copying that many bytes takes longer than others should wait. */
const LARGE = 8 << 20;
/** Idle backing ids of lower files that are kept. */
const KEEP_IDS = 512;
const EMPTY = new Uint8Array();

/** Through what the open files of one nodeid are read and written: by the kernel from one backing file, or by us. */
interface Opened {
  count: number;
  readonly kind: 'lower' | 'upper' | 'served';
  readonly id: number;
  /** What the id was taken for, of a lower file. */
  readonly key: number;
}

/** A file that was just made: its mode, and a descriptor of it or -1. */
interface Made {
  readonly mode: number;
  readonly fd: number;
}

/** An open file. */
interface Handle {
  readonly nodeid: number;
  readonly node: Inode | LowerNode;
  readonly writable: boolean;
  readonly opened: Opened;
  /** The lower file that it was opened on; 0: on upper's. */
  lower: LowerNode;
  /** Opened when it is needed; -1 until then. */
  fd: number;
}

/**
 * Content of files: opens, reads, writes. The kernel demands that all passthrough opens of an inode that are alive at one
 * time name the same backing file. A file that is open on the lower and comes to be opened for writing therefore gets a
 * new nodeid for its upper file: ESTALE makes the kernel look up the name again and find it, and whoever has it open
 * already goes on reading what the lower has, as on kernel overlayfs.
 */
export class Content {
  readonly #union: Union;
  readonly #copyUp: CopyUp;
  readonly #handles = new Map<number, Handle>();
  readonly #opened = new Map<number, Opened>();
  readonly #attr = new Attr();
  #next = 1;
  #ids: BackingIds | undefined;
  #lowerIds: BackingPool | undefined;
  #changed: (nodeid: number) => void = () => undefined;

  constructor(union: Union, copyUp: CopyUp) {
    this.#union = union;
    this.#copyUp = copyUp;
  }

  /** @param ids passthrough, where the kernel has it. @param changed makes the kernel drop what it knows of a file */
  serveWith(ids: BackingIds | undefined, changed: (nodeid: number) => void): void {
    this.#ids = ids;
    this.#changed = changed;
    const contents = { open: (_: number, node: number): number => this.#union.lower.openContent(node) };
    if (ids !== undefined) this.#lowerIds = new BackingPool(contents, ids, KEEP_IDS);
  }

  isOpen(nodeid: number): boolean {
    return this.#opened.has(nodeid);
  }

  /** OPEN. @throws ErrnoError ESTALE: the name leads to another nodeid now */
  open(nodeid: number, flags: number): { fh: number; flags: number; id: number } {
    const union = this.#union;
    let node = union.find(nodeid);
    if (union.type(node) !== S_IFREG) throw new ErrnoError(errno.EISDIR, 'open');
    const writable = (flags & O_ACCMODE) !== 0 || (flags & O.TRUNC) !== 0;
    if (writable) {
      const cut = (flags & O.TRUNC) !== 0;
      node = this.forWriting(nodeid, node, cut ? 0 : undefined);
      if (cut) this.truncate(node, 0);
    } else if (typeof node !== 'number' && node.metacopy) this.#accessed(node);
    return this.#handle(nodeid, node, writable);
  }

  /** What is read is the lower's content, the time of access is upper's: set as a mount with relatime does. */
  #accessed(inode: Inode): void {
    const { upper } = this.#union;
    const { atimeSec, atimeNsec, mtimeSec, mtimeNsec, ctimeSec } = upper.stat(inode);
    const now = Date.now() / 1000;
    const unread = atimeSec < mtimeSec || (atimeSec === mtimeSec && atimeNsec <= mtimeNsec) || atimeSec <= ctimeSec;
    if (!unread && now - atimeSec < DAY) return;
    upper.utimens(inode, { sec: 0, nsec: UTIME_NOW }, { sec: 0, nsec: UTIME_OMIT });
    this.#changed(inode.nodeid);
  }

  /** The first open of a file that was just made. @param fd a descriptor of it, which is taken over */
  openNew(inode: Inode, flags: number, mode: number, fd = -1): { fh: number; flags: number; id: number } {
    try {
      return this.#handle(inode.nodeid, inode, (flags & O_ACCMODE) !== 0, { mode, fd });
    } catch (error) {
      if (fd >= 0) close(fd);
      throw error;
    }
  }

  /**
   * Whether a file's content has to be brought to upper first and that takes so long that others should be served
   * meanwhile. Then it is begun.
   * @param done called when it is there, or with what went wrong
   */
  beginLarge(nodeid: number, done: (error: unknown) => void): boolean {
    const node = this.#union.find(nodeid);
    if (this.#union.type(node) !== S_IFREG) return false;
    if (typeof node !== 'number' && node.completing !== undefined) {
      this.#copyUp.completeLater(node, done);
      return true;
    }
    if (typeof node !== 'number' && !node.metacopy) return false;
    this.#union.fill(node, this.#attr);
    if (this.#attr.size < LARGE) return false;
    this.#copyUp.completeLater(this.#copyUp.file(node, { data: false }), done);
    return true;
  }

  /** Brings a file's content to upper. @param length only so much of it. @throws ErrnoError ESTALE as for {@link open} */
  forWriting(nodeid: number, node: Inode | LowerNode, length: number | undefined): Inode {
    if (this.#opened.get(nodeid)?.kind !== 'lower') {
      return this.#copyUp.file(node, length === undefined ? { data: true } : { data: true, length });
    }
    // All of it: what is to be cut off is cut when the kernel comes back.
    const inode = this.#copyUp.file(node, { data: true });
    if (inode.nodeid === nodeid) {
      this.#union.table.renumber(inode);
      this.#changed(nodeid);
    }
    throw new ErrnoError(errno.ESTALE, 'open');
  }

  truncate(inode: Inode, size: number): void {
    const fd = this.#union.upper.open(inode, O.WRONLY);
    try {
      ftruncateSync(fd, size);
    } finally {
      close(fd);
    }
  }

  #handle(
    nodeid: number,
    node: Inode | LowerNode,
    writable: boolean,
    made?: Made,
  ): { fh: number; flags: number; id: number } {
    const { table } = this.#union;
    const lower = typeof node === 'number' ? node : node.upper && !node.metacopy ? 0 : node.lower;
    const opened = this.#use(nodeid, node, lower, writable, made);
    const handle: Handle = { nodeid, node, writable, opened, lower, fd: made?.fd ?? -1 };
    // The kernel has its own.
    if (opened.kind !== 'served' && opened.id !== 0 && handle.fd >= 0) {
      close(handle.fd);
      handle.fd = -1;
    }
    const fh = this.#next++;
    this.#handles.set(fh, handle);
    if (typeof node !== 'number') {
      table.pin(node);
      if (writable) node.writers++;
    }
    if (opened.kind !== 'served') return { fh, flags: FOPEN.PASSTHROUGH, id: opened.id };
    // Where the kernel writes some files past its cache of them, what it cached before is to be trusted of the lower's only.
    return { fh, flags: this.#ids === undefined || lower !== 0 ? FOPEN.KEEP_CACHE : 0, id: 0 };
  }

  #use(nodeid: number, node: Inode | LowerNode, lower: LowerNode, writable: boolean, made?: Made): Opened {
    const known = this.#opened.get(nodeid);
    if (known !== undefined) {
      known.count++;
      return known;
    }
    const opened: Opened = { count: 1, ...this.#choose(node, lower, writable, made) };
    this.#opened.set(nodeid, opened);
    return opened;
  }

  #choose(node: Inode | LowerNode, lower: LowerNode, writable: boolean, made?: Made): Omit<Opened, 'count'> {
    if (lower !== 0) {
      const key = this.#union.lower.contentKey(lower);
      this.#union.lower.fill(lower, this.#attr);
      // Whoever has such a file open sees what others write to it; the old view of a passthrough is for large ones.
      const id = key === 0 || this.#attr.size <= READ_BY_US ? 0 : (this.#lowerIds?.acquire(key, lower) ?? 0);
      return { kind: id === 0 ? 'served' : 'lower', id, key };
    }
    const inode = node as Inode;
    // Who writes takes set-user-ID away, which only happens when the write comes to us.
    const privileged = writable && ((made?.mode ?? this.#union.upper.stat(inode).mode) & 0o6000) !== 0;
    const id =
      this.#ids === undefined || privileged ? 0 : this.#registerUpper(this.#ids, inode, writable, made?.fd ?? -1);
    return { kind: id === 0 ? 'served' : 'upper', id, key: 0 };
  }

  /** @param have a descriptor of the file, or -1 */
  #registerUpper(ids: BackingIds, inode: Inode, writable: boolean, have: number): number {
    const fd = have >= 0 ? have : this.#union.upper.open(inode, writable ? O.RDWR : O.RDONLY);
    try {
      return ids.open(fd);
    } catch (error) {
      // Limits, an odd filesystem: that one goes through us.
      if (error instanceof ErrnoError) return 0;
      throw error;
    } finally {
      if (fd !== have) close(fd);
    }
  }

  #get(fh: number): Handle {
    const handle = this.#handles.get(fh);
    if (handle === undefined) throw new ErrnoError(errno.EBADF, 'handle');
    return handle;
  }

  /** The descriptor behind a handle; -1 for an empty lower file. */
  #descriptor(handle: Handle): number {
    const { node } = handle;
    // Copied up since: what is written now has to be seen. (A reader by passthrough keeps the lower's.)
    if (handle.lower !== 0 && typeof node !== 'number' && node.upper && !node.metacopy) this.#reopen(handle);
    if (handle.lower !== 0 && typeof node === 'number') {
      const inode = this.#union.table.get(node);
      if (inode?.upper === true && !inode.metacopy && handle.opened.kind === 'served') this.#reopen(handle, inode);
    }
    if (handle.fd >= 0) return handle.fd;
    handle.fd =
      handle.lower === 0
        ? this.#union.upper.open(this.#inode(handle), handle.writable ? O.RDWR : O.RDONLY)
        : this.#union.lower.openContent(handle.lower);
    return handle.fd;
  }

  #inode(handle: Handle): Inode {
    const { node } = handle;
    const inode = typeof node === 'number' ? this.#union.table.get(node) : node;
    if (inode === undefined) throw new ErrnoError(errno.ESTALE, 'handle');
    return inode;
  }

  #reopen(handle: Handle, inode = this.#inode(handle)): void {
    const fd = this.#union.upper.open(inode, O.RDONLY);
    if (handle.fd >= 0) close(handle.fd);
    handle.fd = fd;
    handle.lower = 0;
  }

  /** A descriptor for what is done to a file by its handle. */
  descriptor(fh: number): number {
    return this.#descriptor(this.#get(fh));
  }

  read(fh: number, offset: number, size: number, reply: Reply): void {
    const fd = this.descriptor(fh);
    if (fd < 0) reply.data(EMPTY);
    else reply.readFrom(fd, offset, size);
  }

  seek(fh: number, offset: number, whence: number): number {
    const fd = this.descriptor(fh);
    if (fd < 0 || offset < 0) throw new ErrnoError(errno.ENXIO, 'lseek');
    const found = whence === 3 ? seekData(fd, offset) : seekHole(fd, offset);
    if (found === undefined) throw new ErrnoError(errno.ENXIO, 'lseek');
    return found;
  }

  /** Something may have been written by mmap, of which nobody heard. */
  written(fh: number): void {
    const { writable, nodeid } = this.#get(fh);
    if (writable) this.#changed(nodeid);
  }

  release(fh: number): void {
    const handle = this.#handles.get(fh);
    if (handle === undefined) return;
    this.#handles.delete(fh);
    if (handle.fd >= 0) close(handle.fd);
    this.#leave(handle);
    const { node } = handle;
    if (typeof node === 'number') return;
    if (handle.writable && --node.writers === 0) this.#changed(node.nodeid);
    this.#union.table.unpin(node);
  }

  #leave({ nodeid, opened }: Handle): void {
    if (--opened.count > 0) return;
    this.#opened.delete(nodeid);
    if (opened.kind === 'upper') this.#ids?.close(opened.id);
    else if (opened.kind === 'lower') this.#lowerIds?.release(opened.key);
  }

  /** Closes everything: the mount has ended. */
  close(): void {
    for (const handle of this.#handles.values()) if (handle.fd >= 0) close(handle.fd);
    this.#handles.clear();
  }
}

/**
 * A mode without set-user-ID and set-group-ID, which a change of content by somebody unprivileged takes away. A
 * set-group-ID that marks no program stays when a member of the group does it.
 */
export function withoutPrivileges(mode: number, isMember: () => boolean): number {
  if ((mode & S_IFMT) !== S_IFREG) return mode;
  const without = mode & ~0o4000;
  if ((mode & 0o2000) === 0) return without;
  return (mode & 0o010) === 0 && isMember() ? without : without & ~0o2000;
}
