/**
 * What lies below one work folder, as three layers. Every work folder of a mount is the same, so that a sequence can be run
 * in any of them. Names, targets and xattr names are latin1 strings, one char a byte.
 */
import { hasMachineIds } from '@layerfs/linux/initial-namespace';

export type LowerType = 'folder' | 'file' | 'symlink' | 'hardlink' | 'fifo' | 'char' | 'whiteout' | 'opaque';

export interface LowerEntry {
  /** Relative to the work folder; for `opaque` the folder's. */
  readonly path: string;
  readonly type: LowerType;
  /** Permission bits. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds; long before any test runs, so that a time the kernel set can be told from one that was given. */
  readonly mtime?: number;
  readonly data?: Uint8Array;
  /** Of symlinks and hardlinks. */
  readonly target?: string;
  readonly device?: readonly [major: number, minor: number];
  readonly xattrs?: Readonly<Record<string, Uint8Array>>;
}

/** All given times are before this, all of the kernel's after it. */
export const RECENT = 1_600_000_000;

/** Nothing may ever be there: absolute links lead out of the mount, and operations follow them. */
const NOWHERE = '/nonexistent-layerfs-union-diff/x';

/** Version 2 capability: cap_net_bind_service+ep. */
export const CAPABILITY = new Uint8Array([1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + seed * 17 + (at >> 8)) & 0xff;
  return bytes;
}

function withHoles(): Buffer {
  const bytes = Buffer.alloc(200 * 1024);
  pattern(4096, 1).copy(bytes, 0);
  pattern(8192, 2).copy(bytes, 100 * 1024);
  pattern(100, 3).copy(bytes, bytes.length - 100);
  return bytes;
}

type More = Partial<Omit<LowerEntry, 'path' | 'type'>>;
const folder = (path: string, more: More = {}): LowerEntry => ({ path, type: 'folder', mode: 0o755, ...more });
const file = (path: string, size: number, more: More = {}): LowerEntry => ({
  path,
  type: 'file',
  mode: 0o644,
  data: pattern(size, path.length + size),
  ...more,
});
const symlink = (path: string, target: string, more: More = {}): LowerEntry => ({
  path,
  type: 'symlink',
  mode: 0o777,
  target,
  ...more,
});
const hardlink = (path: string, target: string): LowerEntry => ({ path, type: 'hardlink', target });
const whiteout = (path: string): LowerEntry => ({ path, type: 'whiteout' });
const opaque = (path: string): LowerEntry => ({ path, type: 'opaque' });

/** The folder that operations see as their root; what `..` leads to from it belongs to the same sequence. */
export const TOP = 't';

const base: readonly LowerEntry[] = [
  folder(''),
  folder('t'),
  file('t/f0', 0),
  file('t/f1', 1),
  file('t/f100', 100),
  file('t/f5000', 5000),
  file('t/big', 0, { data: withHoles() }),
  file('t/a b', 10),
  file('t/new\nline', 11),
  file('t/\xff\xfe\x80', 12),
  // overlayfs cannot redirect to paths above 256 bytes (module parameter redirect_max), so that the longest is a link.
  file(`t/${'n'.repeat(240)}`, 13),
  symlink(`t/${'s'.repeat(255)}`, 'f100'),
  folder('t/a'),
  file('t/a/f', 50),
  folder('t/a/b', { mode: 0o750, uid: 1000, gid: 1000 }),
  file('t/a/b/f', 60, { uid: 1000, gid: 1000 }),
  folder('t/a/b/c'),
  file('t/a/b/c/f', 70),
  file('t/a/b/c/g', 5000),
  folder('t/empty'),
  file('t/h1', 200),
  hardlink('t/h2', 't/h1'),
  file('t/k1', 300, { uid: 1000, xattrs: { 'user.k': Buffer.from('k') } }),
  hardlink('t/a/k2', 't/k1'),
  hardlink('t/a/b/k3', 't/k1'),
  symlink('t/sdangling', 'nowhere'),
  symlink('t/sfile', 'f100'),
  symlink('t/sfolder', 'a'),
  symlink('t/sabsolute', NOWHERE),
  symlink('t/sloop', 'sloop'),
  symlink('t/a/sup', '../f100', { uid: 1000 }),
  { path: 't/fifo', type: 'fifo', mode: 0o622 },
  { path: 't/char', type: 'char', mode: 0o666, device: [1, 3] },
  file('t/setuid', 100, { mode: 0o4755, uid: 1000, gid: 1000 }),
  file('t/setgid', 100, { mode: 0o2755, gid: 50 }),
  file('t/locking', 100, { mode: 0o2644, gid: 50 }),
  folder('t/sg', { mode: 0o2775, gid: 50 }),
  file('t/sg/f', 20, { gid: 50 }),
  folder('t/sticky', { mode: 0o1777 }),
  file('t/sticky/mine', 20, { uid: 1000 }),
  file('t/sticky/yours', 20, { uid: 1001 }),
  file('t/x', 20, { xattrs: { 'user.a': Buffer.from('one'), 'user.b': Buffer.alloc(0) } }),
  file('t/capable', 100, { mode: 0o755, xattrs: { 'security.capability': CAPABILITY } }),
  folder('t/xd', { xattrs: { 'user.d': Buffer.from('folder'), 'trusted.t': Buffer.from([0, 255]) } }),
  file('t/xd/f', 20, { xattrs: { 'trusted.t': Buffer.from('t') } }),
  file('t/gone', 30),
  folder('t/goned'),
  file('t/goned/f', 30),
  file('t/back', 30),
  folder('t/opq'),
  file('t/opq/x', 30),
  folder('t/opq/sub'),
  file('t/opq/sub/f', 30),
  file('t/replaced', 40),
  file('t/ftd', 40),
  folder('t/dtf'),
  file('t/dtf/f', 40),
  folder('t/m'),
  file('t/m/1', 41),
  file('t/m/2', 42),
  folder('t/m/sub'),
  file('t/m/sub/f', 43),
];

/** Deletes, replaces, changes types. */
const middle: readonly LowerEntry[] = [
  folder(''),
  folder('t'),
  whiteout('t/gone'),
  whiteout('t/goned'),
  whiteout('t/back'),
  folder('t/opq', { gid: 7 }),
  opaque('t/opq'),
  file('t/opq/y', 31),
  file('t/replaced', 4000, { mode: 0o600 }),
  folder('t/ftd'),
  file('t/ftd/f', 44),
  file('t/dtf', 45),
  folder('t/m', { mode: 0o775 }),
  whiteout('t/m/1'),
  file('t/m/2', 4200),
  file('t/m/3', 46),
  folder('t/m/sub'),
  file('t/m/sub/g', 47),
];

/** Brings a name back, hides again, changes a folder's attributes only. */
const top: readonly LowerEntry[] = [
  folder(''),
  folder('t'),
  file('t/back', 31, { mode: 0o640, gid: 1000 }),
  folder('t/m', { mode: 0o777 }),
  whiteout('t/m/3'),
  folder('t/m/sub'),
  opaque('t/m/sub'),
  file('t/m/sub/h', 48),
  folder('t/a'),
  folder('t/a/b', { mode: 0o755, uid: 1000, gid: 1000, xattrs: { 'user.d': Buffer.from('top') } }),
];

/**
 * What can be in lowers of a user namespace, and is the same there on both sides: no devices, no attributes of other classes; no
 * hardlinks, as overlayfs without an index breaks them.
 */
function isForUsers({ type, xattrs = {} }: LowerEntry): boolean {
  return type !== 'char' && type !== 'hardlink' && Object.keys(xattrs).every((name) => name.startsWith('user.'));
}

const all = [base, middle, top];

/** Base first. */
export const LAYERS: readonly (readonly LowerEntry[])[] = hasMachineIds()
  ? all
  : all.map((layer) => {
      const entries = layer.filter(isForUsers);
      return entries.filter(({ path }) => !path.startsWith('t/xd/'));
    });
