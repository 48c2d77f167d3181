import { Attr, type Caller } from '@layerfs/fuse';
import {
  AT,
  AT_FDCWD,
  ErrnoError,
  O,
  RENAME,
  close,
  errno,
  fchmodat,
  fchownat,
  getXattr,
  linkat,
  mkdirat,
  mknodat,
  openat,
  removeXattr,
  renameat2,
  setXattr,
  statx,
  symlinkat,
  unlinkat,
  type Statx,
} from '@layerfs/linux';
import { fchmodSync, fchownSync } from 'node:fs';
import { latin1Bytes } from '../../core/bytes.js';
import * as format from '../../core/overlay/format.js';
import { planMake, planMove, planRemove, type Below, type InUpper, type NameState } from '../../core/overlay/plans.js';
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../core/tree/format.js';
import { device, type CopyUp } from './copy-up.js';
import { Folder, Inode } from './inodes.js';
import type { LowerNode } from './lower.js';
import type { Union } from './union.js';

const S_ISGID = 0o2000;
const DEFAULT_ACL = 'system.posix_acl_default';
const YES = latin1Bytes('y');
const METADATA = { data: false } as const;

/** Who makes a file, and with which mode: `umask` counts where no ACL is inherited. */
export interface Maker {
  readonly caller: Caller;
  readonly mode: number;
  readonly umask: number;
}

/** Something new: its inode, and what stat says of it. */
export interface Made {
  readonly inode: Inode;
  readonly stat: Statx;
}

/** How something is made under a name, with a mode. */
type Action = (dir: number, name: Uint8Array, mode: number) => void;

/** Names that come, go and move. */
export class Namespace {
  readonly #union: Union;
  readonly #copyUp: CopyUp;
  readonly #isOpen: (nodeid: number) => boolean;
  readonly #attr = new Attr();

  /** @param isOpen whether somebody has a file open */
  constructor(union: Union, copyUp: CopyUp, isOpen: (nodeid: number) => boolean) {
    this.#isOpen = isOpen;
    this.#union = union;
    this.#copyUp = copyUp;
  }

  #below(folder: Folder, name: string): Below {
    const node = this.#union.below(folder, name);
    if (node === 0) return 'nothing';
    return (this.#union.lower.mode(node) & S_IFMT) === S_IFDIR ? 'folder' : 'file';
  }

  #state(folder: Folder, name: string): NameState {
    const stat = folder.upper ? this.#union.upper.entry(folder, name) : undefined;
    return { upper: this.#kind(folder, name, stat), below: this.#below(folder, name) };
  }

  #kind(folder: Folder, name: string, stat: Statx | undefined): InUpper {
    if (stat === undefined) return 'nothing';
    if (this.#union.upper.isWhiteout(folder, name, stat)) return 'whiteout';
    return (stat.mode & S_IFMT) === S_IFDIR ? 'folder' : 'file';
  }

  /** {@link #state} of a name that the kernel found free. Where the lower has none either, no whiteout is there. */
  #stateToMake(folder: Folder, name: string): NameState {
    return folder.tidy && this.#below(folder, name) === 'nothing'
      ? { upper: 'nothing', below: 'nothing' }
      : this.#state(folder, name);
  }

  /** A file, device, FIFO or socket. `mode` has its type. */
  mknod(folder: Folder, name: string, maker: Maker, rdev: number): Made {
    // That would be a whiteout.
    if ((maker.mode & S_IFMT) === S_IFCHR && rdev === 0) throw new ErrnoError(errno.EPERM, 'mknod');
    return this.#make(folder, name, maker, (dir, bytes, mode) => mknodat(dir, bytes, mode, device(rdev)));
  }

  /** A regular file. @returns a descriptor of it as well, for reading and writing */
  create(folder: Folder, name: string, maker: Maker): Made & { readonly fd: number } {
    let fd = -1;
    try {
      const made = this.#make(folder, name, maker, (dir, bytes, mode) => {
        fd = openat(dir, bytes, O.RDWR | O.CREAT | O.EXCL | O.NOFOLLOW, mode & 0o7777);
      });
      return { ...made, fd };
    } catch (error) {
      if (fd >= 0) close(fd);
      throw error;
    }
  }

  mkdir(folder: Folder, name: string, maker: Maker): Made {
    const mode = (maker.mode & 0o7777) | S_IFDIR;
    return this.#make(folder, name, { ...maker, mode }, (dir, bytes, bits) => mkdirat(dir, bytes, bits & 0o7777));
  }

  symlink(folder: Folder, name: string, target: string, caller: Caller): Made {
    const maker = { caller, mode: 0o120777, umask: 0 };
    return this.#make(folder, name, maker, (dir, bytes) => symlinkat(latin1Bytes(target), dir, bytes));
  }

  /** Makes something under a free name, owned by who asked. */
  #make(folder: Folder, name: string, maker: Maker, action: Action): Made {
    const { upper } = this.#union;
    this.#begin(folder, name);
    const isFolder = (maker.mode & S_IFMT) === S_IFDIR;
    const state = this.#stateToMake(folder, name);
    if (state.upper === 'file' || state.upper === 'folder') throw new ErrnoError(errno.EEXIST, 'make');
    if (state.upper === 'nothing' && state.below !== 'nothing') throw new ErrnoError(errno.EEXIST, 'make');
    const plan = planMake(state, isFolder);
    const dir = upper.dir(folder);
    const bytes = latin1Bytes(name);
    let stat: Statx | undefined;
    if (!plan.overWhiteout && !plan.opaque) {
      stat = this.#owned(folder, dir, bytes, maker, action);
    } else {
      const staged = upper.stagingName();
      this.#inheriting(folder, () => void this.#owned(folder, upper.staging, staged, maker, action));
      if (plan.opaque) upper.mark(upper.path({ dir: upper.staging, name: staged }), format.OPAQUE, YES);
      this.#settle(staged, dir, bytes, isFolder && plan.overWhiteout);
      stat = upper.entry(folder, name);
    }
    if (isFolder && folder.subfolders >= 0) folder.subfolders++;
    if (stat === undefined) throw new ErrnoError(errno.EIO, 'make');
    const bare = folder.defaultAcl !== true && !plan.opaque;
    if (isFolder) return { inode: this.#union.newFolder(stat, folder, name, bare), stat };
    const inode = this.#union.newFile(stat, bare);
    this.#union.table.addName(inode, folder, name);
    return { inode, stat };
  }

  #begin(folder: Folder, name: string): void {
    folder.version++;
    if (name.length > 255) throw new ErrnoError(errno.ENAMETOOLONG, 'name');
    if (folder.removed) throw new ErrnoError(errno.ENOENT, 'removed folder');
    this.#copyUp.folder(folder);
  }

  /** Moves what is staged to its name; a folder can only be swapped with the whiteout there. */
  #settle(staged: Uint8Array, dir: number, name: Uint8Array, swap: boolean): void {
    const { upper } = this.#union;
    renameat2(upper.staging, staged, dir, name, swap ? RENAME.EXCHANGE : 0);
    if (swap) unlinkat(upper.staging, staged);
  }

  /** Makes something and gives it the owner and mode that it should have. @returns what stat says of it then */
  #owned(folder: Folder, dir: number, name: Uint8Array, maker: Maker, action: Action): Statx {
    const { upper } = this.#union;
    const { uid, gid, mode, inherits } = this.ownership(folder, maker);
    action(dir, name, mode);
    const stat = statx(dir, name, AT.SYMLINK_NOFOLLOW);
    const [owner, group] = [upper.storedUid(uid), upper.storedGid(gid)];
    const chown = stat.uid !== owner || stat.gid !== group;
    if (chown) fchownat(dir, name, owner, group);
    // chown takes these away, mkdir never gives them, and our own umask takes others.
    const bits = (mode & S_IFMT) === S_IFLNK ? undefined : this.#missingBits(mode, inherits, stat.mode, chown);
    if (bits !== undefined) fchmodat(dir, name, bits);
    return upper.shown(chown || bits !== undefined ? statx(dir, name, AT.SYMLINK_NOFOLLOW) : stat);
  }

  /** The mode to set on something new that does not have it yet. With an inherited ACL the permissions are the filesystem's to say. */
  #missingBits(mode: number, inherits: boolean, actual: number, chowned: boolean): number | undefined {
    const privileged = (mode & 0o6000) !== 0;
    const wanted = inherits ? (actual & 0o777) | (mode & 0o7000) : mode & 0o7777;
    if (inherits && !privileged) return undefined;
    return (chowned && privileged) || (actual & 0o7777) !== wanted ? wanted : undefined;
  }

  /** Owner, group and mode of what is made in a folder: POSIX, and set-group-ID folders as Linux has them. */
  ownership(
    folder: Folder,
    { caller, mode, umask }: Maker,
  ): { uid: number; gid: number; mode: number; inherits: boolean } {
    const heir = (folder.heir ??= this.#heir(folder));
    const sticksToGroup = heir >= 0;
    const inherits = this.#inheritsAcl(folder);
    let bits = inherits || (mode & S_IFMT) === 0o120000 ? mode : mode & ~(umask & 0o777);
    if (sticksToGroup && (mode & S_IFMT) === S_IFDIR) bits |= S_ISGID;
    return { uid: caller.uid, gid: sticksToGroup ? heir : caller.gid, mode: bits, inherits };
  }

  #heir(folder: Folder): number {
    const { mode, gid } = this.#union.upper.stat(folder);
    return (mode & S_ISGID) !== 0 ? gid : -1;
  }

  #inheritsAcl(folder: Folder): boolean {
    if (folder.defaultAcl === undefined) folder.defaultAcl = this.#defaultAcl(folder) !== undefined;
    return folder.defaultAcl;
  }

  #defaultAcl(folder: Folder): Uint8Array | undefined {
    try {
      return getXattr(this.#union.upper.xattrTarget(folder), DEFAULT_ACL);
    } catch (error) {
      if (error instanceof ErrnoError && error.errno === errno.ENOTSUP) return undefined;
      throw error;
    }
  }

  /** Runs with the staging folder having the default ACL of the folder that the new file is for. */
  #inheriting(folder: Folder, action: () => void): void {
    const acl = this.#inheritsAcl(folder) ? this.#defaultAcl(folder) : undefined;
    if (acl === undefined) {
      action();
      return;
    }
    const { upper } = this.#union;
    const staging = openat(upper.staging, '.', O.RDONLY | O.DIRECTORY);
    try {
      setXattr(staging, DEFAULT_ACL, acl);
      try {
        action();
      } finally {
        removeXattr(staging, DEFAULT_ACL);
      }
    } finally {
      close(staging);
    }
  }

  /** A file without a name. */
  tmpfile(folder: Folder, maker: Maker): Made {
    if (folder.removed) throw new ErrnoError(errno.ENOENT, 'removed folder');
    this.#copyUp.folder(folder);
    const { uid, gid, mode, inherits } = this.ownership(folder, { ...maker, mode: maker.mode | S_IFREG });
    const fd = this.#copyUp.unnamed(folder, mode & 0o7777);
    fchownSync(fd, this.#union.upper.storedUid(uid), this.#union.upper.storedGid(gid));
    const bits = this.#missingBits(mode, inherits, statx(fd, '', AT.EMPTY_PATH).mode, true);
    if (bits !== undefined) fchmodSync(fd, bits);
    const stat = this.#union.upper.shown(statx(fd, '', AT.EMPTY_PATH));
    const inode = this.#union.newFile(stat, !inherits);
    inode.orphan = fd;
    return { inode, stat };
  }

  /** One more name for a file. */
  link(node: Inode | LowerNode, folder: Folder, name: string): Inode {
    const { upper, table } = this.#union;
    this.#begin(folder, name);
    const inode = this.#copyUp.file(node, METADATA);
    const state = this.#state(folder, name);
    const { dir, name: own } = upper.place(inode);
    if (own.length > 0) this.#copyUp.rememberOrigin(inode);
    const from = own.length > 0 ? own : upper.path({ dir, name: own });
    const fromDir = own.length > 0 ? dir : AT_FDCWD;
    const flags = own.length > 0 ? 0 : AT.SYMLINK_FOLLOW;
    const bytes = latin1Bytes(name);
    if (state.upper === 'whiteout') {
      const staged = upper.stagingName();
      linkat(fromDir, from, upper.staging, staged, flags);
      renameat2(upper.staging, staged, upper.dir(folder), bytes);
    } else linkat(fromDir, from, upper.dir(folder), bytes, flags);
    table.addName(inode, folder, name);
    return inode;
  }

  unlink(folder: Folder, name: string): void {
    const { upper } = this.#union;
    const stat = folder.upper && !folder.removed ? upper.entry(folder, name) : undefined;
    const inUpper = stat !== undefined && !upper.isWhiteout(folder, name, stat);
    const node = inUpper ? this.#union.adopt(folder, name, stat) : this.#existing(folder, name);
    if (this.#union.type(node) === S_IFDIR) throw new ErrnoError(errno.EISDIR, 'unlink');
    folder.version++;
    const gone = this.#prepareRemoval(node, inUpper ? stat : undefined);
    // A file of the lower that has other names is in upper by now.
    const state = inUpper ? { upper: 'file' as const, below: this.#below(folder, name) } : this.#state(folder, name);
    const plan = planRemove(state);
    if (plan !== 'remove') this.#copyUp.folder(folder);
    const dir = upper.dir(folder);
    const bytes = latin1Bytes(name);
    if (plan === 'remove') unlinkat(dir, bytes);
    else if (plan === 'whiteout') upper.whiteouts.make(dir, bytes);
    else upper.whiteouts.replace(dir, bytes);
    this.#removed(gone, folder, name);
  }

  #existing(folder: Folder, name: string): Inode | LowerNode {
    folder.version++;
    if (folder.removed) throw new ErrnoError(errno.ENOENT, 'removed folder');
    const node = this.#union.lookup(folder, name);
    if (node === undefined) throw new ErrnoError(errno.ENOENT, 'name');
    return node;
  }

  /** The inode of a file that is to lose a name: kept within reach, and its number of links right. */
  #prepareRemoval(node: Inode | LowerNode, known?: Statx): Inode {
    const { lower, upper, table } = this.#union;
    if (typeof node === 'number') {
      lower.fill(node, this.#attr);
      // The other names have to know of it.
      if (this.#attr.nlink > 1) return this.#prepareRemoval(this.#copyUp.file(node, METADATA));
      const inode = new Inode(node, this.#attr.ino, this.#attr.mode & S_IFMT, node);
      table.add(inode);
      return inode;
    }
    if (!node.upper) return node;
    // Somebody has it open (of a FIFO or a device nobody tells us), or may come back to it by another name.
    const special = node.type !== S_IFREG && node.type !== S_IFLNK;
    if (special || node.pins > 0 || this.#isOpen(node.first) || this.#isOpen(node.nodeid)) upper.keep(node);
    const { nlink, ...stat } = known ?? upper.stat(node);
    if (nlink === 1) node.ghost = { ...stat, nlink: 0 };
    else if (node.names.length <= 1) upper.keep(node);
    return node;
  }

  #removed(inode: Inode, folder: Folder, name: string): void {
    const { table } = this.#union;
    table.removeName(inode, folder, name);
    if (!inode.upper) inode.gone = true;
    // Its number may be another file's from now on.
    else if (inode.ghost !== undefined) table.clearUpper(inode);
    // It can be asked itself.
    if (inode.orphan >= 0) inode.ghost = undefined;
    table.release(inode);
  }

  rmdir(folder: Folder, name: string): void {
    const node = this.#existing(folder, name);
    if (this.#union.type(node) !== S_IFDIR) throw new ErrnoError(errno.ENOTDIR, 'rmdir');
    if (!this.#union.isEmpty(node)) throw new ErrnoError(errno.ENOTEMPTY, 'rmdir');
    const target = this.#union.folder(this.#union.nodeid(node));
    const { upper } = this.#union;
    const plan = planRemove(this.#state(folder, name));
    if (plan !== 'remove') this.#copyUp.folder(folder);
    if (target.upper) upper.keep(target);
    const dir = upper.dir(folder);
    const bytes = latin1Bytes(name);
    if (plan === 'whiteout') upper.whiteouts.make(dir, bytes);
    else if (plan === 'replace') this.#swapForWhiteout(dir, bytes);
    else this.#removeFolder(dir, bytes);
    this.#folderRemoved(target, folder);
  }

  #swapForWhiteout(dir: number, name: Uint8Array): void {
    const { upper } = this.#union;
    const staged = upper.stagingName();
    upper.whiteouts.make(upper.staging, staged);
    upper.whiteouts.announce(dir);
    renameat2(upper.staging, staged, dir, name, RENAME.EXCHANGE);
    upper.discardFolder(staged);
  }

  #removeFolder(dir: number, name: Uint8Array): void {
    const { upper } = this.#union;
    try {
      unlinkat(dir, name, AT.REMOVEDIR);
    } catch (error) {
      // Whiteouts of what it was once merged with.
      if (!(error instanceof ErrnoError) || (error.errno !== errno.ENOTEMPTY && error.errno !== errno.EEXIST))
        throw error;
      const staged = upper.stagingName();
      renameat2(dir, name, upper.staging, staged);
      upper.discardFolder(staged);
    }
  }

  #folderRemoved(target: Folder, parent: Folder): void {
    const { table, upper } = this.#union;
    upper.forget(target);
    target.removed = true;
    table.clearUpper(target);
    table.place(target, undefined, target.name);
    if (parent.subfolders > 0) parent.subfolders--;
    table.release(target);
  }

  rename(from: Folder, name: string, to: Folder, newName: string, flags: number): void {
    if ((flags & ~(RENAME.NOREPLACE | RENAME.EXCHANGE)) !== 0) throw new ErrnoError(errno.EINVAL, 'rename');
    if (newName.length > 255) throw new ErrnoError(errno.ENAMETOOLONG, 'rename');
    const source = this.#existing(from, name);
    if (to.removed) throw new ErrnoError(errno.ENOENT, 'rename');
    to.version++;
    const target = this.#union.lookup(to, newName);
    if ((flags & RENAME.EXCHANGE) !== 0) {
      if (target === undefined) throw new ErrnoError(errno.ENOENT, 'rename');
      this.#exchange(from, name, source, to, newName, target);
      return;
    }
    if (target !== undefined && (flags & RENAME.NOREPLACE) !== 0) throw new ErrnoError(errno.EEXIST, 'rename');
    if (target !== undefined) this.#checkReplace(source, target);
    const moved = this.#copyUp.any(source, METADATA);
    this.#copyUp.folder(from);
    this.#copyUp.folder(to);
    const replaced = target === undefined ? undefined : this.#prepareReplaced(target);
    this.#move(moved, from, name, to, newName);
    if (replaced instanceof Folder) this.#folderRemoved(replaced, to);
    else if (replaced !== undefined) this.#removed(replaced, to, newName);
    this.#moved(moved, from, name, to, newName);
  }

  #checkReplace(source: Inode | LowerNode, target: Inode | LowerNode): void {
    const union = this.#union;
    const folder = union.type(source) === S_IFDIR;
    if (union.type(target) === S_IFDIR) {
      if (!folder) throw new ErrnoError(errno.EISDIR, 'rename');
      if (!union.isEmpty(target)) throw new ErrnoError(errno.ENOTEMPTY, 'rename');
    } else if (folder) throw new ErrnoError(errno.ENOTDIR, 'rename');
  }

  #prepareReplaced(target: Inode | LowerNode): Inode {
    if (this.#union.type(target) !== S_IFDIR) {
      const file = this.#prepareRemoval(target);
      // Who is about to open it gets it, however often it is replaced: the kernel tries again only once.
      if (file.upper && file.held > 0) this.#union.upper.keep(file);
      return file;
    }
    const folder = this.#union.folder(this.#union.nodeid(target));
    if (folder.upper) this.#union.upper.keep(folder);
    return folder;
  }

  /** The move itself, on disk. At each step the merged root is as before or as after. */
  #move(moved: Inode, from: Folder, name: string, to: Folder, newName: string): void {
    const { upper } = this.#union;
    const target = this.#state(to, newName);
    const isFolder = moved instanceof Folder;
    const plan = planMove(
      { isFolder, continues: moved.lower !== 0 },
      { upper: 'file', below: this.#below(from, name) },
      target,
    );
    if (plan.redirect) this.#copyUp.rememberOrigin(moved, to);
    if (plan.opaque) upper.mark(upper.xattrTarget(moved), format.OPAQUE, YES);
    const [fromDir, toDir] = [upper.dir(from), upper.dir(to)];
    const [old, fresh] = [latin1Bytes(name), latin1Bytes(newName)];
    if (target.upper === 'folder') this.#emptyFolder(toDir, fresh);
    if (isFolder && target.upper === 'whiteout') {
      if (plan.leaveWhiteout) upper.whiteouts.announce(fromDir);
      renameat2(fromDir, old, toDir, fresh, RENAME.EXCHANGE);
      if (!plan.leaveWhiteout) unlinkat(fromDir, old);
    } else if (!plan.leaveWhiteout) renameat2(fromDir, old, toDir, fresh);
    else this.#moveLeavingWhiteout(fromDir, old, toDir, fresh);
  }

  #moveLeavingWhiteout(fromDir: number, old: Uint8Array, toDir: number, fresh: Uint8Array): void {
    const { whiteouts } = this.#union.upper;
    try {
      if (whiteouts.devices) return renameat2(fromDir, old, toDir, fresh, RENAME.WHITEOUT);
    } catch (error) {
      if (!(error instanceof ErrnoError) || error.errno !== errno.EINVAL) throw error;
    }
    // The kernel cannot: for a moment the lower's file is seen again.
    renameat2(fromDir, old, toDir, fresh);
    whiteouts.make(fromDir, old);
  }

  /** A folder that shows nothing may still hold whiteouts: then an empty opaque one takes its place. */
  #emptyFolder(dir: number, name: Uint8Array): void {
    const { upper } = this.#union;
    const staged = upper.stagingName();
    mkdirat(upper.staging, staged, 0o700);
    upper.mark(upper.path({ dir: upper.staging, name: staged }), format.OPAQUE, YES);
    renameat2(upper.staging, staged, dir, name, RENAME.EXCHANGE);
    upper.discardFolder(staged);
  }

  #exchange(
    from: Folder,
    name: string,
    source: Inode | LowerNode,
    to: Folder,
    newName: string,
    target: Inode | LowerNode,
  ): void {
    const { upper } = this.#union;
    const [first, second] = [this.#copyUp.any(source, METADATA), this.#copyUp.any(target, METADATA)];
    this.#copyUp.folder(from);
    this.#copyUp.folder(to);
    const places = [
      { inode: first, folder: to, state: this.#state(to, newName) },
      { inode: second, folder: from, state: this.#state(from, name) },
    ];
    for (const { inode, folder, state } of places) {
      const moved = { isFolder: inode instanceof Folder, continues: inode.lower !== 0 };
      const plan = planMove(moved, { upper: 'file', below: 'nothing' }, state);
      if (plan.redirect) this.#copyUp.rememberOrigin(inode, folder);
      if (plan.opaque) upper.mark(upper.xattrTarget(inode), format.OPAQUE, YES);
    }
    renameat2(upper.dir(from), latin1Bytes(name), upper.dir(to), latin1Bytes(newName), RENAME.EXCHANGE);
    this.#moved(first, from, name, to, newName);
    this.#moved(second, to, newName, from, name);
  }

  #moved(inode: Inode, from: Folder, name: string, to: Folder, newName: string): void {
    const { table } = this.#union;
    if (inode instanceof Folder) {
      table.place(inode, to, newName);
      if (from === to) return;
      if (from.subfolders > 0) from.subfolders--;
      if (to.subfolders >= 0) to.subfolders++;
      return;
    }
    table.addName(inode, to, newName);
    if (from !== to || name !== newName) table.removeName(inode, from, name);
  }
}
