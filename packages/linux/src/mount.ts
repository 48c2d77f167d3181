import { cPath, check, native, nativeSyscall, type Path } from './library.js';
import { close } from './io.js';

/** Flags of mount(2). */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  REMOUNT: 32,
  NOATIME: 1024,
  BIND: 4096,
  REC: 16384,
  PRIVATE: 1 << 18,
} as const;

/** Flags of umount2(2). */
export const MNT = { FORCE: 1, DETACH: 2, EXPIRE: 4, NOFOLLOW: 8 } as const;

const mountFunction = native(
  'int mount(const void *source, const void *target, const void *type, unsigned long flags, const void *data)',
);
const umount2Function = native('int umount2(const void *target, int flags)');

/** mount(2). `data` is the option string of the filesystem. Throws ErrnoError naming the target. */
export function mount(source: Path, target: Path, type: string, flags: number, data = ''): void {
  check(mountFunction(cPath(source), cPath(target), cPath(type), flags, cPath(data)), 'mount', target);
}

/** umount2(2). Throws ErrnoError naming the target. */
export function umount2(target: Path, flags = 0): void {
  check(umount2Function(cPath(target), flags), 'umount2', target);
}

// Numbers since Linux 5.x are the same on every architecture.
const openTreeFunction = nativeSyscall(428, 'long dir, const void *path, unsigned long flags');
const moveMountFunction = nativeSyscall(
  429,
  'long fromDir, const void *from, long toDir, const void *to, unsigned long flags',
);
const mountSetattrFunction = nativeSyscall(
  442,
  'long dir, const void *path, unsigned long flags, const void *attributes, size_t size',
);
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 4;

/** Attributes of mount_setattr(2). */
export const MOUNT_ATTR = { RDONLY: 1, NOSUID: 2, NODEV: 4, NOEXEC: 8, NOATIME: 0x10 } as const;
/** All bits of {@link MOUNT_ATTR} that say how access times are kept: to be cleared when one is set. */
const MOUNT_ATTR_ATIME_MASK = 0x70;
const MOUNT_ATTR_IDMAP = 0x100000n;

/** open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount that `path` lies on, rooted at `path`. */
export function openTreeClone(path: Path): number {
  return check(openTreeFunction(AT_FDCWD, cPath(path), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), 'open_tree', path);
}

/** mount_setattr(2) on the mount behind `fd`: sets and clears {@link MOUNT_ATTR} bits. */
export function mountSetattr(fd: number, set: number, clear = 0): void {
  const attributes = new BigUint64Array([BigInt(set), BigInt(clear), 0n, 0n]);
  const empty = new Uint8Array(1);
  const bytes = new Uint8Array(attributes.buffer);
  check(mountSetattrFunction(fd, empty, AT_EMPTY_PATH, bytes, bytes.length), 'mount_setattr');
}

/** mount_setattr(2) with MOUNT_ATTR_IDMAP: shows owners below a detached mount as the user namespace has them (Linux 5.12). */
export function mountMapped(fd: number, userNamespace: number): void {
  const attributes = new BigUint64Array([MOUNT_ATTR_IDMAP, 0n, 0n, BigInt(userNamespace)]);
  const bytes = new Uint8Array(attributes.buffer);
  check(mountSetattrFunction(fd, new Uint8Array(1), AT_EMPTY_PATH, bytes, bytes.length), 'mount_setattr');
}

/** move_mount(2): attaches the detached mount behind `fd` at `target`. */
export function moveMount(fd: number, target: Path): void {
  const empty = new Uint8Array(1);
  check(moveMountFunction(fd, empty, AT_FDCWD, cPath(target), MOVE_MOUNT_F_EMPTY_PATH), 'move_mount', target);
}

/**
 * A descriptor on a detached, read-only view of the folder `path`: files opened below it can never be opened for
 * writing, not even by the kernel that opens them again by path (FUSE passthrough). Needs CAP_SYS_ADMIN and
 * Linux 5.12; throws ErrnoError (EPERM, ENOSYS) otherwise. The view goes away when the descriptor is closed.
 */
export function openReadOnlyClone(path: Path): number {
  const fd = openTreeClone(path);
  try {
    // Without NOATIME every read would try, and fail, to update an access time.
    mountSetattr(fd, MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOATIME, MOUNT_ATTR_ATIME_MASK);
  } catch (error) {
    close(fd);
    throw error;
  }
  return fd;
}
