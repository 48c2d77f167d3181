import { execFileSync } from 'node:child_process';
import {
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it, type TestContext } from 'vitest';
import { Attr } from '@layerfs/fuse';
import { AT_FDCWD, DT, ErrnoError, O, close, mkdirat, mknodat, openat, setXattr } from '@layerfs/linux';
import { FoldersLower, type FoldersLowerOptions } from './folders-lower.js';
import { listingOf } from './folders-listing.test-support.js';

const ROOT = 1;
const S_IFCHR = 0o020000;
const root = mkdtempSync(join(tmpdir(), 'layerfs-folders-'));
const opened: FoldersLower[] = [];
let count = 0;
afterAll(() => {
  for (const lower of opened) lower.close();
  // Node's rm goes by paths, which some of these are too deep for.
  execFileSync('rm', ['-rf', root]);
});

/** A layer: paths that end in a slash are folders, `-> ` is a link, all else content. */
function layer(files: Record<string, string>): string {
  const folder = join(root, `layer${String(count++)}`);
  mkdirSync(folder);
  for (const [path, content] of Object.entries(files)) {
    const full = join(folder, path);
    mkdirSync(path.endsWith('/') ? full : dirname(full), { recursive: true });
    if (path.endsWith('/')) continue;
    if (content.startsWith('-> ')) symlinkSync(content.slice(3), full);
    else writeFileSync(full, content);
  }
  return folder;
}

/** The stack, topmost first. */
function stack(folders: string[], options: Partial<FoldersLowerOptions> = {}): FoldersLower {
  const lower = new FoldersLower({ folders, ...options });
  opened.push(lower);
  return lower;
}

function merged(...layers: Record<string, string>[]): string[] {
  return listingOf(stack(layers.map(layer)));
}

function attr(lower: FoldersLower, node: number): Attr {
  const filled = new Attr();
  lower.fill(node, filled);
  return filled;
}

function find(lower: FoldersLower, path: string): number {
  let node = ROOT;
  for (const name of path.split('/')) if (node !== 0) node = lower.lookup(node, name);
  return node;
}

function needRoot(context: TestContext): void {
  if (process.geteuid?.() === 0) return;
  console.warn(`skipped: ${context.task.name}: needs root`);
  context.skip('needs root');
}

function mark(path: string, name: string, value = ''): void {
  setXattr(path, name, Buffer.from(value));
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

describe('marks of kernel overlayfs', () => {
  it('0:0 devices hide, other devices do not', (context) => {
    needRoot(context);
    const top = layer({});
    mknodat(AT_FDCWD, join(top, 'a'), S_IFCHR, 0n);
    mknodat(AT_FDCWD, join(top, 'null'), S_IFCHR | 0o666, 0x103n);
    const lower = stack([top, layer({ a: '1', b: '2' })]);
    expect([lower.lookup(ROOT, 'a'), lower.lookup(ROOT, 'none')]).toEqual([0, 0]);
    expect(attr(lower, lower.lookup(ROOT, 'null')).rdev).toBe(0x103);
    expect(listingOf(lower)).toEqual(['b 2', 'null chr']);
  });

  it.each(['trusted', 'user'])('%s.overlay: opaque, whiteout', (kind) => {
    if (kind === 'trusted' && process.geteuid?.() !== 0) {
      console.warn('skipped: trusted.overlay: opaque, whiteout: needs root');
      return;
    }
    const top = layer({ 'y/a': '1', 'x/b': '', 'x/d': 'not empty', 'x/e': '', 'plain/c': '' });
    mark(join(top, 'y'), `${kind}.overlay.opaque`, 'y');
    mark(join(top, 'x'), `${kind}.overlay.opaque`, 'x');
    for (const path of ['x/b', 'x/d', 'plain/c']) mark(join(top, path), `${kind}.overlay.whiteout`);
    const low = layer({ 'y/no': '', 'x/b': 'no', 'x/c': 'yes', 'x/d': 'no', 'plain/d': 'yes' });
    const shows = ['plain/', 'plain/c ', 'plain/d yes', 'x/', 'x/c yes', 'x/d not empty', 'x/e ', 'y/', 'y/a 1'];
    expect(listingOf(stack([top, low]))).toEqual(shows);
    const lower = stack([top, low]);
    expect(['x/b', 'y/no'].map((path) => find(lower, path))).toEqual([0, 0]);
  });

  it('redirects lead to other folders of lower layers, absolute or beside', () => {
    const top = layer({ 'a/': '', 'sub/b/': '', 'deep/c/': '' });
    mark(join(top, 'a'), 'user.overlay.redirect', '/old/place');
    mark(join(top, 'sub/b'), 'user.overlay.redirect', 'was');
    mark(join(top, 'deep/c'), 'user.overlay.redirect', '/old/place');
    const middle = layer({ 'old/place/m': '1', 'sub/was/m': '2' });
    mark(join(middle, 'old'), 'user.overlay.redirect', 'older');
    const low = layer({ 'old/place/no': '', 'older/place/l': '3', 'sub/was/l': '4', 'a/no': '', 'sub/b/no': '' });
    expect(listingOf(stack([top, middle, low])).filter((line) => /^(a|sub|deep)/.test(line))).toEqual([
      'a/',
      'a/l 3',
      'a/m 1',
      'deep/',
      'deep/c/',
      'deep/c/l 3',
      'deep/c/m 1',
      'sub/',
      'sub/b/',
      'sub/b/l 4',
      'sub/b/m 2',
      'sub/was/',
      'sub/was/l 4',
      'sub/was/m 2',
    ]);
  });

  it.each(['/a/../b', '../x', 'a/b', '/', '/a//b', ''])('a redirect to %j is EIO for that name only', (value) => {
    const top = layer({ 'bad/x': '1', good: '2' });
    mark(join(top, 'bad'), 'user.overlay.redirect', value);
    const lower = stack([top, layer({ other: '3' })]);
    const bad = lower.lookup(ROOT, 'bad');
    expect(() => lower.lookup(bad, 'x')).toThrow('EIO');
    expect(() => lower.childCount(bad)).toThrow('EIO');
    expect(() => attr(lower, bad)).toThrow('EIO');
    expect([lower.lookup(ROOT, 'good'), lower.lookup(ROOT, 'other')].every((node) => node > 0)).toBe(true);
    expect(lower.childCount(ROOT)).toBe(3);
  });

  it('folders that are redirected to each other end', () => {
    const make = (): string => {
      const folder = layer({ 'a/b/': '', 'b/a/': '' });
      mark(join(folder, 'a'), 'user.overlay.redirect', '/b/a');
      mark(join(folder, 'b'), 'user.overlay.redirect', '/a/b');
      return folder;
    };
    const lower = stack([make(), make(), make(), make()]);
    expect(listingOf(lower)).toEqual(['a/', 'a/b/', 'b/', 'b/a/']);
  });

  it('a metacopy has its own metadata and the content of the file below', () => {
    const top = layer({ same: '', moved: '', gone: '', 'd/folder': '' });
    for (const path of ['same', 'moved', 'gone', 'd/folder']) {
      writeFileSync(join(top, path), Buffer.alloc(5));
      mark(join(top, path), 'user.overlay.metacopy');
    }
    mark(join(top, 'moved'), 'user.overlay.redirect', '/deep/origin');
    const low = layer({ same: 'below', 'deep/origin': 'moved', 'd/folder/': '' });
    const lower = stack([top, layer({ 'd/': '' }), low]);
    const content = (path: string): string => {
      const fd = lower.openContent(find(lower, path));
      try {
        return readFileSync(fd, 'latin1');
      } finally {
        closeSync(fd);
      }
    };
    expect([content('same'), content('moved')]).toEqual(['below', 'moved']);
    expect(attr(lower, find(lower, 'same')).ino).toBe(statSync(join(top, 'same')).ino);
    expect(lower.contentKey(find(lower, 'moved'))).toBe(lower.contentKey(find(lower, 'deep/origin')));
    expect(() => content('gone')).toThrow('EIO');
    expect(() => content('d/folder')).toThrow('EIO');
  });
});
