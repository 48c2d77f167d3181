import { closeSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { AT_FDCWD, mknodat } from '@layerfs/linux';
import type { FoldersLower } from './lower.js';
import { listingOf } from './listing.test-support.js';
import { Stacks, attr, find, mark, needRoot } from './stacks.test-support.js';

const ROOT = 1;
const S_IFCHR = 0o020000;
const stacks = new Stacks();
afterAll(() => stacks.remove());
const layer = (files: Record<string, string>): string => stacks.layer(files);
const stack = (folders: string[]): FoldersLower => stacks.open(folders);

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

  it.for(['trusted', 'user'])('%s.overlay: opaque, whiteout', (kind, context) => {
    if (kind === 'trusted') needRoot(context);
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
