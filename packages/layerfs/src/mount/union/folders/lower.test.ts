import {
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { AT_FDCWD, DT, ErrnoError, O, close, mkdirat, openat } from '@layerfs/linux';
import { Layers } from './layers.js';
import { FoldersLower, type FoldersLowerOptions } from './lower.js';
import { listingOf } from './listing.test-support.js';
import { Stacks, attr, find, mark, needRoot } from './stacks.test-support.js';

const ROOT = 1;
const stacks = new Stacks();
const { root } = stacks;
afterAll(() => stacks.remove());
const layer = (files: Record<string, string>): string => stacks.layer(files);
const stack = (folders: string[], options: Partial<FoldersLowerOptions> = {}): FoldersLower =>
  stacks.open(folders, options);

function merged(...layers: Record<string, string>[]): string[] {
  return listingOf(stack(layers.map(layer)));
}

describe('merging', () => {
  it('shows the topmost file of a name, and merges folders', () => {
    expect(merged({ 'a/x': 'top', f: 'top' }, { 'a/y': 'low', 'a/x': 'low', f: 'low', g: '-> f' })).toEqual([
      'a/',
      'a/x top',
      'a/y low',
      'f top',
      'g -> f',
    ]);
  });

  it('hides a folder under a file and a file under a folder, with all that is further below', () => {
    expect(merged({ a: 'file', 'b/': '' }, { 'a/x': '1', b: 'file' }, { 'a/y': '2', 'b/z': '3' })).toEqual([
      'a file',
      'b/',
    ]);
    expect(merged({ 'a/x': '1' }, { a: 'file' }, { 'a/y': '2' })).toEqual(['a/', 'a/x 1']);
  });

  it('takes .wh.NAME for a whiteout of lower layers, not of its own', () => {
    expect(merged({ '.wh.a': '', '.wh.b': '', b: 'new' }, { a: '1', b: '2', c: '3' })).toEqual(['b new', 'c 3']);
    expect(merged({ '.wh.d': '', 'd/x': '1' }, { 'd/y': '2' })).toEqual(['d/', 'd/x 1']);
    expect(merged({ 'd/.wh.x': '' }, { 'd/x': '1', 'd/y': '2' })).toEqual(['d/', 'd/y 2']);
    expect(merged({ f: '' }, { '.wh.d': '' }, { 'd/y': '2' })).toEqual(['f ']);
  });

  it('takes .wh..wh..opq for an opaque folder, at the root as well', () => {
    expect(merged({ 'd/.wh..wh..opq': '', 'd/x': '1' }, { 'd/y': '2', e: '3' })).toEqual(['d/', 'd/x 1', 'e 3']);
    expect(merged({ '.wh..wh..opq': '', x: '1' }, { y: '2' })).toEqual(['x 1']);
  });

  it('never shows names that markers have, whether they hide anything or not', () => {
    const lower = stack([layer({ '.wh..wh.aufs': '', '.wh.': '', '.wh..': '', x: '1' }), layer({ '.wh.y': '' })]);
    expect(listingOf(lower)).toEqual(['x 1']);
    expect(['.wh.', '.wh..', '.wh.y', '.wh..wh.aufs', 'y'].map((name) => lower.lookup(ROOT, name))).toEqual(
      Array(5).fill(0),
    );
  });

  it('answers lookups before and after a folder was listed alike', () => {
    const layers = [
      { '.wh.a': '', b: '1', 'd/.wh..wh..opq': '' },
      { a: '1', c: '2', 'd/x': '' },
      { c: 'low', 'e/f': '' },
    ];
    const folders = layers.map(layer);
    const [fresh, listed] = [stack(folders), stack(folders)];
    listingOf(listed);
    for (const path of ['a', 'b', 'c', 'd', 'd/x', 'e', 'e/f', 'none', '.wh.a', 'n'.repeat(255), 'n'.repeat(300)]) {
      expect([path, find(fresh, path) !== 0]).toEqual([path, find(listed, path) !== 0]);
    }
    expect(attr(fresh, find(fresh, 'c')).ino).toBe(attr(listed, find(listed, 'c')).ino);
  });

  it('lists a folder that is asked for many names, with the same answers', () => {
    const lower = stack([layer({ a: '' }), layer({ b: '' })]);
    for (let i = 0; i < 100; i++) expect(lower.lookup(ROOT, `none${String(i)}`)).toBe(0);
    expect([lower.lookup(ROOT, 'a'), lower.lookup(ROOT, 'b')]).toEqual([2, 3]);
  });

  it('keeps bytes of names and link targets', () => {
    const folder = layer({});
    const bytes = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0x20, 0xe4])]);
    symlinkSync(Buffer.from([0xfe]), bytes);
    const lower = stack([folder]);
    const node = lower.lookup(ROOT, '\xff \xe4');
    expect([...lower.readlink(node)]).toEqual([0xfe]);
    expect(lower.childName(ROOT, 0)).toBe('\xff \xe4');
    expect(lower.childType(ROOT, 0)).toBe(DT.LNK);
  });
});

describe('attributes', () => {
  it('are those of the topmost file, with the real inode number on one device', () => {
    const [top, low] = [layer({ 'd/x': 'abc' }), layer({ 'd/x': 'longer', 'd/e/': '', 'f/g/': '' })];
    const lower = stack([top, low]);
    const shown = attr(lower, find(lower, 'd/x'));
    const real = lstatSync(join(top, 'd/x'));
    expect(shown).toMatchObject({ ino: real.ino, size: 3, mode: real.mode, uid: real.uid, gid: real.gid, nlink: 1 });
    expect(shown.mtimeSec * 1000 + Math.floor(shown.mtimeNsec / 1e6)).toBe(Math.floor(real.mtimeMs));
    expect(attr(lower, ROOT)).toMatchObject({ ino: statSync(top).ino, nlink: 4 });
    expect(attr(lower, find(lower, 'd'))).toMatchObject({ ino: statSync(join(top, 'd')).ino, nlink: 3 });
    expect(attr(lower, find(lower, 'f'))).toMatchObject({ nlink: 3 });
    expect(lower.inoLimit).toBeGreaterThan(real.ino);
  });

  it('have distinct inode numbers on several devices, the same whatever the order of layers', (context) => {
    if (!existsSync('/dev/shm') || statSync('/dev/shm').dev === statSync(root).dev) {
      console.warn(`skipped: ${context.task.name}: there is no second device`);
      context.skip('there is no second device');
    }
    const other = mkdtempSync('/dev/shm/layerfs-folders-');
    try {
      writeFileSync(join(other, 'b'), 'b');
      const low = layer({ a: 'a' });
      const numbers = (lower: FoldersLower): number[] => ['a', 'b'].map((name) => attr(lower, find(lower, name)).ino);
      const [a, b] = numbers(stack([low, other]));
      expect(numbers(stack([other, low]))).toEqual([a, b]);
      const above = stack([other], { upper: low });
      expect(attr(above, find(above, 'b')).ino).toBe(b);
      expect([a % 2 ** 44, b % 2 ** 44]).toEqual([statSync(join(low, 'a')).ino, statSync(join(other, 'b')).ino]);
      expect(Math.floor(a / 2 ** 44) + Math.floor(b / 2 ** 44)).toBe(1);
    } finally {
      rmSync(other, { recursive: true });
    }
  });

  it('show owners through the functions given', () => {
    const lower = stack([layer({ x: '' })], { showUid: (uid) => uid + 5, showGid: (gid) => gid + 7 });
    const { uid, gid } = statSync(root);
    expect(attr(lower, ROOT)).toMatchObject({ uid: uid + 5, gid: gid + 7 });
  });

  it('leave out those that are the union’s own', (context) => {
    const folder = layer({ x: '1', y: '2', 'd/': '' });
    try {
      mark(join(folder, 'x'), 'user.shown', 'value');
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      console.warn(`skipped: ${context.task.name}: no user attributes in ${root}`);
      context.skip('no user attributes');
    }
    mark(join(folder, 'x'), 'user.overlay.origin', 'o');
    mark(join(folder, 'd'), 'user.fuseoverlayfs.opaque', 'y');
    const lower = stack([folder]);
    const x = lower.lookup(ROOT, 'x');
    expect(lower.xattrs(x)).toEqual([['user.shown', new Uint8Array(Buffer.from('value'))]]);
    expect(lower.xattr(x, 'user.overlay.origin')).toBeUndefined();
    expect(lower.xattr(x, 'user.none')).toBeUndefined();
    expect(lower.xattrs(lower.lookup(ROOT, 'd'))).toEqual([]);
    expect(lower.xattrs(lower.lookup(ROOT, 'y'))).toEqual([]);
  });
});

describe('content', () => {
  it('is opened for reading, and none when empty', () => {
    const lower = stack([layer({ empty: '' }), layer({ 'd/x': 'content', empty: 'no' })]);
    const x = find(lower, 'd/x');
    const fd = lower.openContent(x);
    expect(readFileSync(fd, 'latin1')).toBe('content');
    closeSync(fd);
    expect(lower.openContent(find(lower, 'empty'))).toBe(-1);
    expect(lower.contentKey(find(lower, 'empty'))).toBe(0);
    expect(lower.contentKey(x)).toBe(lower.contentKey(x));
  });

  it('cannot be opened for writing by its descriptor, where we may prevent it', (context) => {
    needRoot(context);
    const lower = stack([layer({ x: 'content' })]);
    const fd = lower.openContent(lower.lookup(ROOT, 'x'));
    expect(() => openat(AT_FDCWD, `/proc/self/fd/${String(fd)}`, O.RDWR)).toThrow('EROFS');
    closeSync(fd);
  });
});

describe('names', () => {
  it('of one file are one node, whichever was seen first', () => {
    const low = layer({ 'a/x': 'data', 'b/other': '' });
    linkSync(join(low, 'a/x'), join(low, 'b/y'));
    linkSync(join(low, 'a/x'), join(low, 'hidden'));
    const lower = stack([layer({ '.wh.hidden': '' }), low]);
    const x = find(lower, 'a/x');
    expect(lower.names(x)).toEqual([
      { folder: find(lower, 'a'), name: 'x' },
      { folder: find(lower, 'b'), name: 'y' },
    ]);
    expect(find(lower, 'b/y')).toBe(x);
    expect(lower.contentKey(x)).toBe(lower.contentKey(find(lower, 'b/y')));
    expect(lower.names(find(lower, 'b/other'))).toEqual([{ folder: find(lower, 'b'), name: 'other' }]);
    expect(lower.names(find(lower, 'b'))).toEqual([{ folder: ROOT, name: 'b' }]);
    expect(lower.names(ROOT)).toEqual([]);
    expect([lower.parent(ROOT), lower.parent(find(lower, 'b'))]).toEqual([ROOT, ROOT]);
  });

  it('are told by inode number, also when nothing was looked at yet', () => {
    const low = layer({ 'a/x': 'data', z: '' });
    linkSync(join(low, 'a/x'), join(low, 'y'));
    const lower = stack([low]);
    const node = lower.nodeOf(statSync(join(low, 'y')).ino);
    expect(node).not.toBe(0);
    expect([find(lower, 'a/x'), find(lower, 'y')]).toEqual([node, node]);
    expect(lower.nodeOf(0)).toBe(0);
  });
});

describe('bounds', () => {
  it('keeps nodes and indices although listings are dropped', () => {
    const files: Record<string, string> = {};
    for (let i = 0; i < 40; i++) files[`d${String(i % 4)}/f${String(i)}`] = String(i);
    const lower = stack([layer(files)], { keepNames: 12 });
    const before = [0, 1, 2, 3].map((d) => lower.childNode(find(lower, `d${String(d)}`), 3));
    listingOf(lower);
    expect([0, 1, 2, 3].map((d) => lower.childNode(find(lower, `d${String(d)}`), 3))).toEqual(before);
    expect(lower.childCount(ROOT)).toBe(4);
  });

  it('walks folders deeper than a path may be long, with few descriptors', () => {
    const folder = layer({});
    const name = 'n'.repeat(200);
    let dir = openat(AT_FDCWD, folder, O.PATH | O.DIRECTORY);
    const lower = stack([folder, layer({})], { keepOpen: 4 });
    for (let depth = 0; depth < 60; depth++) {
      mkdirat(dir, name, 0o755);
      const next = openat(dir, name, O.PATH | O.DIRECTORY);
      close(dir);
      dir = next;
    }
    writeFileSync(`/proc/self/fd/${String(dir)}/end`, 'deep');
    close(dir);
    let node = ROOT;
    const nodes = Array.from({ length: 60 }, () => (node = lower.lookup(node, name)));
    const end = lower.lookup(node, 'end');
    for (const each of nodes.toReversed()) expect(lower.childCount(each)).toBe(1);
    const fd = lower.openContent(end);
    expect(readFileSync(fd, 'latin1')).toBe('deep');
    closeSync(fd);
  });

  it('is walked with one look at each name and one at the attributes of each folder, where nothing lies below', () => {
    const folder = layer({ 'a/b/c': '1', 'a/d': '2', 'a/e/': '', f: '' });
    const lower = stack([folder]);
    const looks = vi.spyOn(Layers.prototype, 'stat');
    const lists = vi.spyOn(Layers.prototype, 'listXattrs');
    const shown: [string, number, number][] = [];
    const walk = (node: number): void => {
      for (let i = 0; i < lower.childCount(node); i++) {
        const child = lower.childNode(node, i);
        const { ino, nlink } = attr(lower, child);
        shown.push([lower.childName(node, i), ino, nlink]);
        expect(lower.ino(child)).toBe(ino);
        if (lower.childType(node, i) === DT.DIR) walk(child);
      }
    };
    try {
      walk(ROOT);
      expect([looks.mock.calls.length, lists.mock.calls.length]).toEqual([6, 3]);
    } finally {
      looks.mockRestore();
      lists.mockRestore();
    }
    const real = ['a', 'a/b', 'a/b/c', 'a/d', 'a/e', 'f'].map((path) => lstatSync(join(folder, path)));
    expect(shown.map(([, ino, nlink]) => [ino, nlink])).toEqual(real.map(({ ino, nlink }) => [ino, nlink]));
    expect(shown.map(([name]) => name)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  it('opens hundreds of layers and gives all descriptors back', () => {
    const folders = Array.from({ length: 300 }, (_, i) => layer({ [`f${String(i)}`]: '', 'd/x': String(i) }));
    const before = openDescriptors();
    const lower = new FoldersLower({ folders });
    expect(lower.childCount(ROOT)).toBe(301);
    expect(lower.lookup(find(lower, 'd'), 'y')).toBe(0);
    lower.close();
    expect(openDescriptors()).toBe(before);
  });

  it('names the folder that cannot be opened, and leaves nothing open', () => {
    const before = openDescriptors();
    expect(() => new FoldersLower({ folders: [layer({}), join(root, 'missing')] })).toThrow(/missing.*ENOENT/);
    expect(openDescriptors()).toBe(before);
  });
});

function openDescriptors(): number {
  let open = 0;
  const fd = openat(AT_FDCWD, '/proc/self/fd', O.RDONLY | O.DIRECTORY);
  for (let i = 0; i < 2000; i++) {
    try {
      statSync(`/proc/self/fd/${String(i)}`);
      open++;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  close(fd);
  return open;
}
