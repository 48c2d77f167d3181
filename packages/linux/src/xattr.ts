import { cPath, check, lastErrno, native, type Native, type Path } from './library.js';
import { ErrnoError } from './error.js';
import { errno } from './errno.js';

/**
 * Where an extended attribute lies: a path (the link itself is meant, never its target) or a descriptor.
 * Names are byte strings: latin1, one char a byte. Values are bytes.
 */
export type XattrTarget = Path | number;

const get = native('int64_t lgetxattr(const void *path, const void *name, void *value, size_t size)');
const fget = native('int64_t fgetxattr(int fd, const void *name, void *value, size_t size)');
const set = native('int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)');
const fset = native('int fsetxattr(int fd, const void *name, const void *value, size_t size, int flags)');
const list = native('int64_t llistxattr(const void *path, void *list, size_t size)');
const flist = native('int64_t flistxattr(int fd, void *list, size_t size)');
const remove = native('int lremovexattr(const void *path, const void *name)');
const fremove = native('int fremovexattr(int fd, const void *name)');

function name(text: string): Uint8Array {
  return cPath(Buffer.from(text, 'latin1'));
}

function call(target: XattrTarget, byPath: Native, byFd: Native, verb: string, ...args: unknown[]): number {
  return typeof target === 'number'
    ? check(byFd(target, ...args), `f${verb}`)
    : check(byPath(cPath(target), ...args), `l${verb}`, target);
}

/** The value of one attribute, or undefined where there is none (ENODATA). Throws ErrnoError otherwise. */
export function getXattr(target: XattrTarget, attribute: string): Uint8Array | undefined {
  const key = name(attribute);
  let buffer = new Uint8Array(256);
  for (;;) {
    try {
      const length =
        typeof target === 'number'
          ? fget(target, key, buffer, buffer.length)
          : get(cPath(target), key, buffer, buffer.length);
      // The usual answer, at no cost of an exception.
      if (length === -1 && lastErrno() === errno.ENODATA) return undefined;
      return buffer.subarray(0, check(length, 'getxattr', typeof target === 'number' ? undefined : target));
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      if (error.errno !== errno.ERANGE || buffer.length >= 65536) throw error;
      buffer = new Uint8Array(65536);
    }
  }
}

// Most files have none: memory for the usual answer is taken once.
let names1k: Buffer | undefined;

/** Names of all attributes (latin1). */
export function listXattrs(target: XattrTarget): string[] {
  let buffer = (names1k ??= Buffer.allocUnsafeSlow(1024));
  for (;;) {
    try {
      const length = call(target, list, flist, 'listxattr', buffer, buffer.length);
      if (length === 0) return [];
      const names = buffer.toString('latin1', 0, length).split('\0');
      names.pop();
      return names;
    } catch (error) {
      if (!(error instanceof ErrnoError) || error.errno !== errno.ERANGE || buffer.length >= 65536) throw error;
      buffer = Buffer.allocUnsafeSlow(65536);
    }
  }
}

/** Sets an attribute. `flags`: 1 XATTR_CREATE, 2 XATTR_REPLACE. */
export function setXattr(target: XattrTarget, attribute: string, value: Uint8Array, flags = 0): void {
  call(target, set, fset, 'setxattr', name(attribute), value, value.length, flags);
}

/** Removes an attribute; ENODATA where there is none. */
export function removeXattr(target: XattrTarget, attribute: string): void {
  call(target, remove, fremove, 'removexattr', name(attribute));
}
