/** The xattr system calls; a failure throws ErrnoError, also ENODATA. Values are latin1. */
import { check, cPath, native, type Path } from '../../../packages/linux/dist/library.js';

const f = {
  get: native('int64_t getxattr(const void *path, const void *name, void *value, size_t size)'),
  lget: native('int64_t lgetxattr(const void *path, const void *name, void *value, size_t size)'),
  fget: native('int64_t fgetxattr(int fd, const void *name, void *value, size_t size)'),
  set: native('int setxattr(const void *path, const void *name, const void *value, size_t size, int flags)'),
  lset: native('int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)'),
  fset: native('int fsetxattr(int fd, const void *name, const void *value, size_t size, int flags)'),
  list: native('int64_t listxattr(const void *path, void *list, size_t size)'),
  llist: native('int64_t llistxattr(const void *path, void *list, size_t size)'),
  flist: native('int64_t flistxattr(int fd, void *list, size_t size)'),
  remove: native('int removexattr(const void *path, const void *name)'),
  lremove: native('int lremovexattr(const void *path, const void *name)'),
  fremove: native('int fremovexattr(int fd, const void *name)'),
};

export const XATTR = { CREATE: 1, REPLACE: 2 } as const;

export function getxattr(path: Path, name: string, size = 65536): string {
  const value = Buffer.alloc(size);
  return value.toString('latin1', 0, check(f.get(cPath(path), cPath(name), value, size), 'getxattr', path));
}

export function lgetxattr(path: Path, name: string, size = 65536): string {
  const value = Buffer.alloc(size);
  return value.toString('latin1', 0, check(f.lget(cPath(path), cPath(name), value, size), 'lgetxattr', path));
}

export function fgetxattr(fd: number, name: string, size = 65536): string {
  const value = Buffer.alloc(size);
  return value.toString('latin1', 0, check(f.fget(fd, cPath(name), value, size), 'fgetxattr'));
}

/** The size that a call with an empty buffer answers. */
export function xattrSize(path: Path, name: string): number {
  return check(f.get(cPath(path), cPath(name), null, 0), 'getxattr', path);
}

export function setxattr(path: Path, name: string, value: string, flags = 0): void {
  const bytes = Buffer.from(value, 'latin1');
  check(f.set(cPath(path), cPath(name), bytes, bytes.length, flags), 'setxattr', path);
}

export function lsetxattr(path: Path, name: string, value: string, flags = 0): void {
  const bytes = Buffer.from(value, 'latin1');
  check(f.lset(cPath(path), cPath(name), bytes, bytes.length, flags), 'lsetxattr', path);
}

export function fsetxattr(fd: number, name: string, value: string, flags = 0): void {
  const bytes = Buffer.from(value, 'latin1');
  check(f.fset(fd, cPath(name), bytes, bytes.length, flags), 'fsetxattr');
}

function splitNames(list: Buffer, length: number): string[] {
  const names = list.toString('latin1', 0, length).split('\0');
  names.pop();
  return names.toSorted();
}

export function listxattr(path: Path, size = 65536): string[] {
  const list = Buffer.alloc(size);
  return splitNames(list, check(f.list(cPath(path), list, size), 'listxattr', path));
}

export function llistxattr(path: Path, size = 65536): string[] {
  const list = Buffer.alloc(size);
  return splitNames(list, check(f.llist(cPath(path), list, size), 'llistxattr', path));
}

export function flistxattr(fd: number, size = 65536): string[] {
  const list = Buffer.alloc(size);
  return splitNames(list, check(f.flist(fd, list, size), 'flistxattr'));
}

/** The size that a call with an empty buffer answers. */
export function xattrListSize(path: Path): number {
  return check(f.list(cPath(path), null, 0), 'listxattr', path);
}

export function removexattr(path: Path, name: string): void {
  check(f.remove(cPath(path), cPath(name)), 'removexattr', path);
}

export function lremovexattr(path: Path, name: string): void {
  check(f.lremove(cPath(path), cPath(name)), 'lremovexattr', path);
}

export function fremovexattr(fd: number, name: string): void {
  check(f.fremove(fd, cPath(name)), 'fremovexattr');
}

/** Whether an attribute is there. */
export function hasxattr(path: Path, name: string): boolean {
  return llistxattr(path).includes(name);
}
