/**
 * Random stacks that kernel overlayfs itself has made: each layer is what was written into a mount of those below it.
 * FoldersLower must show each stack as the kernel does.
 */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Attr } from '@layerfs/fuse';
import { AT_FDCWD, ErrnoError, listXattrs, mknodat, mount, setXattr, umount2 } from '@layerfs/linux';
import { FoldersLower } from './lower.js';
import { listingOf } from './listing.test-support.js';

const STACKS = Number(process.env['LAYERFS_STACKS'] ?? 40);
const FIRST_SEED = Number(process.env['LAYERFS_SEED'] ?? 1);
const root = mkdtempSync(join(tmpdir(), 'layerfs-folders-kernel-'));
const merged = join(root, 'merged');
mkdirSync(merged);
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The reason why these cannot run, if there is one. */
function whyNot(): string | undefined {
  if (process.geteuid?.() !== 0) return 'needs root';
  const [a, b] = [join(root, 'a'), join(root, 'b')];
  mkdirSync(a);
  mkdirSync(b);
  try {
    mount('overlay', merged, 'overlay', 1, `lowerdir=${a}:${b},redirect_dir=on,metacopy=on`);
    umount2(merged);
    return undefined;
  } catch (error) {
    if (error instanceof ErrnoError) return `no kernel overlayfs on ${root}: ${error.message}`;
    throw error;
  }
}

const reason = whyNot();
if (reason !== undefined) {
  console.warn(`skipped: stacks made by kernel overlayfs: ${reason}`);
  // Where all tests are skipped, nothing is called after them.
  rmSync(root, { recursive: true });
}

type Random = (below: number) => number;

/** mulberry32. */
function random(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Paths of few names, so that operations meet. */
function path(at: string, next: Random): string {
  let full = at;
  for (let depth = 1 + next(3); depth > 0; depth--) full = join(full, 'abcd'[next(4)]);
  return full;
}

/** Changes something below a folder; errors are part of it. */
function change(at: string, next: Random): void {
  const [one, two] = [path(at, next), path(at, next)];
  // Opening a pipe would wait for a reader.
  const write = (act: () => void): void =>
    lstatSync(one, { throwIfNoEntry: false })?.isFIFO() === true ? undefined : act();
  const actions: (() => void)[] = [
    () => mkdirSync(one),
    () => mkdirSync(one, { recursive: true }),
    () => write(() => writeFileSync(one, 'x'.repeat(next(9000)) + one)),
    () => write(() => writeFileSync(one, '')),
    () => write(() => appendFileSync(one, 'more')),
    () => truncateSync(one, next(20)),
    () => rmSync(one, { recursive: true }),
    () => rmSync(one),
    () => renameSync(one, two),
    () => renameSync(one, two),
    () => renameSync(one, two),
    () => linkSync(one, two),
    () => symlinkSync('target', one),
    () => chmodSync(one, 0o600 + next(0o200)),
    () => chmodSync(one, 0o700),
    () => chownSync(one, next(3), next(3)),
    () => lutimesSync(one, next(1000), next(1000)),
    () => setXattr(one, 'user.test', Buffer.from(String(next(10)))),
    () => mknodat(AT_FDCWD, one, 0o010644),
    () => mknodat(AT_FDCWD, one, 0o020644, 0x103n),
    () => {
      rmSync(one, { recursive: true });
      mkdirSync(one);
    },
  ];
  try {
    actions[next(actions.length)]();
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
  }
}

interface Kind {
  /** For a mount that writes. */
  readonly options: string;
  /** For the stack to compare with. */
  readonly reading: string;
}

function makeStack(seed: number, kind: Kind): string[] {
  const next = random(seed);
  const folders: string[] = [];
  const at = mkdtempSync(join(root, `${String(seed)}-`));
  for (let depth = 1 + next(4); depth > 0; depth--) {
    const upper = join(at, String(folders.length));
    mkdirSync(upper, { recursive: true });
    if (folders.length > 0) {
      const work = join(at, 'work');
      mkdirSync(work);
      mount('overlay', merged, 'overlay', 0, overlay(folders, kind.options, upper, work));
    }
    try {
      for (let i = 0; i < 60; i++) change(folders.length > 0 ? merged : upper, next);
    } finally {
      if (folders.length > 0) {
        umount2(merged);
        rmSync(join(at, 'work'), { recursive: true });
      }
    }
    folders.unshift(upper);
  }
  // The kernel wants two folders for a stack that is only read.
  if (folders.length === 1) {
    folders.push(join(at, 'none'));
    mkdirSync(folders[1]);
  }
  return folders;
}

function overlay(folders: string[], options: string, upper: string, work: string): string {
  return `lowerdir=${folders.join(':')},upperdir=${upper},workdir=${work},${options}`;
}

/** Of a small metacopy we show its own blocks: not worth a system call for each small file that is none. */
function told(size: number, blocks: number): number | undefined {
  return size > 4096 ? blocks : undefined;
}

/** As {@link listingOf}, of a mounted folder. */
function kernelListing(at: string, prefix = ''): string[] {
  const lines: string[] = [];
  for (const name of readdirSync(join(at, prefix)).sort()) {
    const full = join(at, prefix, name);
    const { mode, uid, gid, size, mtimeMs, rdev, nlink, blocks } = lstatSync(full);
    const type = mode & 0o170000;
    const said = listXattrs(full).filter((each) => each.startsWith('user.'));
    const shown = { mode, uid, gid, mtime: mtimeMs, rdev, xattrs: said };
    if (type === 0o040000)
      lines.push(`${prefix}${name}/${JSON.stringify(shown)}`, ...kernelListing(at, `${prefix}${name}/`));
    else {
      const extra = JSON.stringify({ ...shown, size, nlink, blocks: told(size, blocks) });
      if (type === 0o100000) lines.push(`${prefix}${name} ${readFileSync(full, 'latin1')}${extra}`);
      else if (type === 0o120000) lines.push(`${prefix}${name} -> ${readlinkSync(full)}${extra}`);
      else lines.push(`${prefix}${name} ${type === 0o010000 ? 'fifo' : 'chr'}${extra}`);
    }
  }
  return lines;
}

function ourListing(lower: FoldersLower): string[] {
  const attr = new Attr();
  return listingOf(lower, (node) => {
    lower.fill(node, attr);
    const { mode, uid, gid, size, rdev, nlink, blocks } = attr;
    const mtime = attr.mtimeSec * 1000 + attr.mtimeNsec / 1e6;
    const shown = { mode, uid, gid, mtime, rdev, xattrs: lower.xattrs(node).map(([name]) => name) };
    return JSON.stringify(
      (mode & 0o170000) === 0o040000 ? shown : { ...shown, size, nlink, blocks: told(size, blocks) },
    );
  });
}

function modeOrNone(full: string): number | undefined {
  try {
    return lstatSync(full).mode;
  } catch (error) {
    if (error instanceof Error && 'code' in error && ['ENOENT', 'ENOTDIR'].includes(String(error.code)))
      return undefined;
    throw error;
  }
}

/** Folder by folder in another order, and names that are not there. */
function expectSameLookups(folders: string[], next: Random): void {
  const lower = new FoldersLower({ folders, keepNames: 5, keepOpen: 3 });
  try {
    for (let i = 0; i < 300; i++) {
      const full = path(merged, next);
      let node = 1;
      for (const name of full.slice(merged.length + 1).split('/')) {
        if (node !== 0) node = (lower.mode(node) & 0o170000) === 0o040000 ? lower.lookup(node, name) : 0;
      }
      expect([full, node === 0 ? undefined : lower.mode(node)]).toEqual([full, modeOrNone(full)]);
    }
  } finally {
    lower.close();
  }
}

const KINDS: [string, Kind][] = [
  [
    'trusted, with redirects and metacopies',
    { options: 'redirect_dir=on,metacopy=on', reading: 'redirect_dir=on,metacopy=on' },
  ],
  ['trusted, plain', { options: 'redirect_dir=off,metacopy=off', reading: 'redirect_dir=off,metacopy=off' }],
  ['user', { options: 'userxattr', reading: 'userxattr' }],
];

describe.skipIf(reason !== undefined).each(KINDS)('a stack that kernel overlayfs made (%s)', (_, kind) => {
  const seeds = Array.from({ length: STACKS }, (_, i) => FIRST_SEED + i);
  it.each(seeds)('seed %i is shown as the kernel shows it', (seed) => {
    const folders = makeStack(seed, kind);
    const lower = new FoldersLower({ folders });
    try {
      mount('overlay', merged, 'overlay', 1, `lowerdir=${folders.join(':')},${kind.reading}`);
      try {
        const theirs = kernelListing(merged);
        expect(ourListing(lower)).toEqual(theirs);
        // Nothing is left of the first walk's effects.
        expect(ourListing(lower)).toEqual(theirs);
        expectSameLookups(folders, random(seed));
      } finally {
        umount2(merged);
      }
    } finally {
      lower.close();
    }
    expect(existsSync(folders[0])).toBe(true);
  });
});
