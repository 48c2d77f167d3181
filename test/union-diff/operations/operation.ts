/**
 * One file operation, as data: it can be run on any mount, printed, dropped from its sequence, and sent to another process.
 * Paths are latin1 strings relative to the top of the work folder; `slot` is one of a few places that keep a descriptor.
 */

/** Seconds and nanoseconds, or what utimensat(2) has special values for. */
export type GivenTime = readonly [sec: number, nsec: number] | 'now' | 'omit';
/** A path (the link itself) or a descriptor. */
export type Target = string | number;

export type Action =
  | { kind: 'open'; slot: number; path: string; flags: number; mode: number }
  | { kind: 'openat'; slot: number; folder: number; path: string; flags: number; mode: number }
  | { kind: 'linkfd'; slot: number; path: string }
  | { kind: 'close'; slot: number }
  | { kind: 'read'; slot: number; length: number }
  | { kind: 'pread'; slot: number; offset: number; length: number }
  | { kind: 'write'; slot: number; length: number; fill: number }
  | { kind: 'pwrite'; slot: number; offset: number; length: number; fill: number }
  | { kind: 'ftruncate'; slot: number; size: number }
  | { kind: 'fallocate'; slot: number; mode: number; offset: number; length: number }
  | { kind: 'seek'; slot: number; what: 'data' | 'hole'; offset: number }
  | { kind: 'getdents'; slot: number }
  | { kind: 'copy'; from: number; to: number; length: number }
  | { kind: 'fsync'; slot: number; data: boolean }
  | { kind: 'fstat'; slot: number }
  | { kind: 'fchmod'; slot: number; mode: number }
  | { kind: 'fchown'; slot: number; uid: number; gid: number }
  | { kind: 'readfile'; path: string }
  | { kind: 'writefile'; path: string; flags: number; length: number; fill: number }
  | { kind: 'truncate'; path: string; size: number }
  | { kind: 'mkdir'; path: string; mode: number }
  | { kind: 'mknod'; path: string; mode: number; device: readonly [number, number] }
  | { kind: 'symlink'; target: string; path: string }
  | { kind: 'readlink'; path: string }
  | { kind: 'link'; from: string; to: string; follow: boolean }
  | { kind: 'unlink'; path: string }
  | { kind: 'rmdir'; path: string }
  /** As rm -r does it: reads a folder a few names at a time and removes them in between. */
  | { kind: 'rmtree'; path: string }
  | { kind: 'rename'; from: string; to: string; flags: number }
  | { kind: 'chmod'; path: string; mode: number }
  | { kind: 'chown'; path: string; uid: number; gid: number; follow: boolean }
  | { kind: 'utimes'; path: string; atime: GivenTime; mtime: GivenTime; follow: boolean }
  | { kind: 'setxattr'; target: Target; name: string; value: string; flags: number }
  | { kind: 'getxattr'; target: Target; name: string }
  | { kind: 'listxattr'; target: Target }
  | { kind: 'removexattr'; target: Target; name: string }
  | { kind: 'stat'; path: string; follow: boolean }
  | { kind: 'readdir'; path: string }
  | { kind: 'access'; path: string; mode: number }
  | { kind: 'statfs'; path: string };

/** An action and who does it: root, or a user to whom permissions apply. */
export type Operation = Action & { user?: number };

/** Flags of open(2) by name, those that Node and `@layerfs/linux` lack included. */
export const OPEN: Readonly<Record<string, number>> = {
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_NONBLOCK: 0o4000,
  O_DSYNC: 0o10000,
  O_DIRECTORY: process.arch === 'arm64' ? 0o40000 : 0o200000,
  O_NOFOLLOW: process.arch === 'arm64' ? 0o100000 : 0o400000,
  O_PATH: 0o10000000,
  O_TMPFILE: process.arch === 'arm64' ? 0o20040000 : 0o20200000,
};

const RENAME_FLAGS = ['', 'NOREPLACE', 'EXCHANGE', 'NOREPLACE|EXCHANGE', 'WHITEOUT'];

function openFlags(flags: number): string {
  const names = [];
  let rest = flags;
  // The largest first: O_TMPFILE contains O_DIRECTORY.
  for (const [name, value] of Object.entries(OPEN).toSorted((a, b) => b[1] - a[1])) {
    if ((rest & value) !== value) continue;
    names.push(name);
    rest &= ~value;
  }
  if ((flags & 3) === 0) names.push('O_RDONLY');
  return names.toReversed().join('|');
}

function shown(key: string, value: unknown): string {
  if (key === 'flags' && typeof value === 'number') return openFlags(value);
  if (key === 'mode' && typeof value === 'number') return `0${value.toString(8)}`;
  if ((key === 'slot' || key === 'folder') && typeof value === 'number') return `fd${String(value)}`;
  return JSON.stringify(value);
}

/** `rename("a", "b", EXCHANGE)`, with `user=1000` when it is not root who does it. */
export function printOperation(operation: Operation): string {
  const { kind, user, ...rest } = operation;
  const fields = Object.entries(rest).map(([key, value]) => {
    if (kind === 'rename' && key === 'flags') return RENAME_FLAGS[value as number] ?? String(value);
    if (kind === 'setxattr' && key === 'flags') return ['0', 'XATTR_CREATE', 'XATTR_REPLACE'][value as number];
    if (kind === 'copy' && key !== 'length') return `fd${String(value)}`;
    if (key === 'target' && typeof value === 'number') return `fd${String(value)}`;
    const plain = ['path', 'from', 'to', 'slot', 'folder', 'flags', 'target', 'name'].includes(key);
    return plain ? shown(key, value) : `${key}=${shown(key, value)}`;
  });
  return `${kind}(${fields.filter((field) => field !== '').join(', ')})${user === undefined ? '' : ` user=${String(user)}`}`;
}

/** The paths that an operation names, the one that it may create or replace last. */
export function pathsOf(operation: Operation): string[] {
  if (operation.kind === 'rename' || operation.kind === 'link') return [operation.from, operation.to];
  if ('path' in operation) return [operation.path];
  return 'target' in operation && typeof operation.target === 'string' ? [operation.target] : [];
}
