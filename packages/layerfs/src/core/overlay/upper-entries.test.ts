import { createHash } from 'node:crypto';
import xxhash from 'xxhash-wasm';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { latin1Bytes } from '../bytes.js';
import { LayerfsError } from '../error.js';
import { parseTree } from '../tree/parse.js';
import { Tree } from '../tree/tree.js';
import { changesOf, type LayerEntry } from './entry.js';
import { TreeEntries } from './tree-entries.js';
import { upperEntries } from './upper-entries.js';
import type { UpperFile, UpperFolder } from './upper.js';

const hash = await xxhash();
const sha256 = (text: string): string => createHash('sha256').update(text, 'latin1').digest('hex');

const tree = (text: string): Tree => Tree.open(parseTree(text, { layers: [new Uint8Array(32)], hash }));

/** A file of the upper: attributes, and either content or what is in it. */
interface Given extends Partial<Omit<UpperFile, 'xattrs' | 'name'>> {
  readonly marks?: Readonly<Record<string, string>>;
  readonly data?: string;
  readonly children?: Children;
}
type Children = Readonly<Record<string, Given>>;

const file = (data = '', more: Given = {}): Given => ({ mode: 0o100644, size: data.length, data, ...more });
const dir = (children: Children, marks: Record<string, string> = {}): Given => ({ mode: 0o040755, children, marks });
const whiteout: Given = { mode: 0o020000 };
const meta = (size: number, more: Record<string, string> = {}): Given => ({
  mode: 0o100600,
  size,
  data: '\0'.repeat(size),
  marks: { 'trusted.overlay.metacopy': '', ...more },
});

let open = 0;
let serial = 0;

function memoryUpper(given: Given): UpperFolder {
  const describeFile = (name: string, one: Given): UpperFile => ({
    name,
    mode: one.mode ?? 0,
    uid: one.uid ?? 0,
    gid: one.gid ?? 0,
    size: one.size ?? 0,
    mtimeSec: one.mtimeSec ?? 0,
    mtimeNsec: one.mtimeNsec ?? 0,
    rdev: one.rdev ?? 0,
    target: one.target,
    nlink: one.nlink ?? 1,
    key: one.key ?? `${serial++}`,
    xattrs: Object.entries(one.marks ?? {}).map(([key, value]) => [key, latin1Bytes(value)]),
  });
  const children = given.children ?? {};
  open++;
  return {
    self: describeFile('', given),
    entries: () =>
      Object.keys(children)
        .toSorted()
        .map((name) => describeFile(name, children[name])),
    openFolder: (name) => memoryUpper(children[name]),
    openFile: () => -1,
    sha256: (name) => sha256(children[name].data ?? ''),
    close: () => open--,
  };
}

function entries(lower: string, children: Children, marks?: Record<string, string>): LayerEntry[] {
  const root = memoryUpper(dir(children, marks));
  try {
    return [...upperEntries(tree(lower), root)];
  } finally {
    root.close();
    expect(open).toBe(0);
  }
}

/** Entries in short; folders that are the same are left out. */
function brief(list: readonly LayerEntry[]): string[] {
  return list.flatMap((entry) => {
    if (entry.kind === 'opaque') return [`opaque ${entry.path}`];
    if (entry.kind === 'deleted') return [`${entry.covered ? '(deleted)' : 'deleted'} ${entry.path}`];
    const { change, path, link, content, attributes } = entry;
    if (change === undefined && (attributes.mode & 0o170000) === 0o040000) return [];
    const what = link === undefined ? (content?.kind ?? '') : `= ${link}`;
    return [`${change ?? 'same'} ${path} ${what}`.trimEnd()];
  });
}

const changes = (lower: string, children: Children, marks?: Record<string, string>): string[] =>
  brief(entries(lower, children, marks));

const ETC = 'etc dir\netc/a file\netc/b file\netc/c file\nusr dir\nusr/bin dir\nusr/bin/x file sha256=aa size=3';

describe('whiteouts', () => {
  test('in all spellings; those that hide nothing are left out', () => {
    const upper = dir({
      a: whiteout,
      b: file('', { marks: { 'user.overlay.whiteout': 'y' } }),
      '.wh.c': file(),
      '.wh.nothing': file(),
      nothing: whiteout,
    });
    expect(changes(ETC, { etc: upper })).toEqual(['deleted etc/a', 'deleted etc/b', 'deleted etc/c']);
  });

  test('a device that is not 0:0, and a file with content, are none', () => {
    const upper = dir({
      a: { mode: 0o020644, rdev: 0x103 },
      b: file('x', { marks: { 'user.overlay.whiteout': 'y' } }),
    });
    expect(changes(ETC, { etc: upper })).toEqual(['changed etc/a', 'changed etc/b upper']);
  });

  test('a file beside its own whiteout is there; a folder is on its own', () => {
    expect(changes(ETC, { '.wh.etc': file(), etc: dir({ a: file('1') }) })).toEqual([
      'changed etc/a upper',
      'deleted etc/b',
      'deleted etc/c',
    ]);
  });

  test('a socket hides what was there, and is left out', () => {
    const told: string[] = [];
    const root = memoryUpper(dir({ etc: { mode: 0o140755 }, new: { mode: 0o140755 } }));
    const list = [...upperEntries(tree(ETC), root, { onSocket: (path) => told.push(path) })];
    root.close();
    expect(brief(list)).toEqual(['deleted etc']);
    expect(told).toEqual(['etc', 'new']);
  });
});

describe('opaque folders', () => {
  test.each([
    ['trusted', { 'trusted.overlay.opaque': 'y' }, {}],
    ['user', { 'user.overlay.opaque': 'y' }, {}],
    ['fuse-overlayfs', { 'user.fuseoverlayfs.opaque': 'y' }, {}],
    ['a marker', {}, { '.wh..wh..opq': file() }],
  ])('%s', (_, marks, more: Children) => {
    expect(changes(ETC, { etc: dir({ b: file(), new: file(), ...more }, marks) })).toEqual([
      'deleted etc/a',
      'deleted etc/c',
      'added etc/new',
    ]);
    expect(changes(ETC, { etc: dir({ new: file(), ...more }, marks) })).toEqual([
      'opaque etc',
      '(deleted) etc/a',
      '(deleted) etc/b',
      '(deleted) etc/c',
      'added etc/new',
    ]);
  });

  test('x says only how whiteouts are spelled', () => {
    expect(changes(ETC, { etc: dir({ new: file() }, { 'trusted.overlay.opaque': 'x' }) })).toEqual(['added etc/new']);
  });

  test('the root', () => {
    expect(changes(ETC, { new: file() }, { 'trusted.overlay.opaque': 'y' })).toEqual([
      'opaque ',
      '(deleted) etc',
      'added new',
      '(deleted) usr',
    ]);
  });
});

describe('a name too long for a whiteout', () => {
  const long = 'n'.repeat(252);
  const lower = `d dir\nd/a file\nd/b dir\nd/b/c file\nd/${long} file`;
  const layer = (children: Children): string[] => {
    const root = memoryUpper(dir(children));
    const list = brief([...upperEntries(tree(lower), root, { forLayer: true })]);
    root.close();
    return list;
  };

  test('in a list it is as any other', () => {
    expect(changes(lower, { d: dir({ [long]: whiteout }) })).toEqual([`deleted d/${long}`]);
  });

  test('in a layer its folder is given anew', () => {
    const anew = ['added d/a', 'added d/b', 'added d/b/c', `(deleted) d/${long}`];
    expect(layer({ d: dir({ [long]: whiteout }) })).toEqual(['opaque d', ...anew]);
    expect(layer({ d: dir({ [long]: whiteout, a: whiteout, b: dir({ new: file() }) }) })).toEqual([
      'opaque d',
      '(deleted) d/a',
      'added d/b',
      'added d/b/c',
      'added d/b/new',
      `(deleted) d/${long}`,
    ]);
    expect(layer({ d: dir({ a: file() }, { 'trusted.overlay.opaque': 'y' }) })).toEqual([
      'opaque d',
      'added d/a',
      '(deleted) d/b',
      `(deleted) d/${long}`,
    ]);
  });
});

test('a hardlink out of a folder that is given anew', () => {
  const long = 'n'.repeat(252);
  const lower = `a file size=1 sha256=${sha256('1')} #1\nd dir\nd/a file #1\nd/${long} file`;
  const linked = file('1', { nlink: 2, key: 'k' });
  const root = memoryUpper(dir({ a: linked, d: dir({ a: linked, [long]: whiteout }) }));
  const list = brief([...upperEntries(tree(lower), root, { forLayer: true })]);
  root.close();
  expect(list).toEqual(['same a upper', 'opaque d', 'added d/a = a', `(deleted) d/${long}`]);
});

describe('what is equal is left out', () => {
  const lower = `f file 0640 1:2 @5.000000007 size=4 sha256=${sha256('same')} xattr:user.a=01\nl symlink 0777 -> t`;
  const same = { mode: 0o100640, uid: 1, gid: 2, mtimeSec: 5, mtimeNsec: 7 };
  const marks = { 'user.a': '\x01' };

  test('in content, attributes and extended attributes; the own and the host’s are not looked at', () => {
    const hidden = {
      'trusted.overlay.layerfs.ino': '12345678',
      'trusted.overlay.origin': 'x',
      'security.selinux': 'l',
    };
    const upper = { f: file('same', { ...same, marks: { ...hidden, ...marks } }), l: { mode: 0o120777, target: 't' } };
    expect(changes(lower, upper)).toEqual([]);
  });

  test.each([
    ['content', { data: 'othr' }],
    ['mode', { mode: 0o100641 }],
    ['owner', { uid: 2 }],
    ['group', { gid: 3 }],
    ['nanoseconds', { mtimeNsec: 8 }],
    ['an attribute', { marks: { 'user.a': '\x02' } }],
    ['no attribute', { marks: {} }],
    ['type', { mode: 0o010640 }],
  ])('not with another %s', (_, change: Given) => {
    expect(changes(lower, { f: file('same', { ...same, marks, ...change }) })).toHaveLength(1);
  });

  test('a folder that is the same, on the way to something', () => {
    const list = entries(ETC, { usr: dir({ bin: dir({ y: file() }) }) });
    expect(list.map((entry) => entry.path)).toEqual(['', 'usr', 'usr/bin', 'usr/bin/y']);
    expect(changesOf(list)).toEqual([{ kind: 'added', path: 'usr/bin/y' }]);
  });
});

describe('redirects', () => {
  test.each([
    ['from the root', '/usr/bin', 'redirect'],
    ['beside', 'bin', ''],
  ])('%s: the content moves', (_, redirect, absolute) => {
    const moved = dir({ y: file() }, { 'trusted.overlay.redirect': redirect });
    const upper: Children =
      absolute === '' ? { usr: dir({ bin: whiteout, new: moved }) } : { new: moved, usr: dir({ bin: whiteout }) };
    const at = absolute === '' ? 'usr/new' : 'new';
    const gone = ['deleted usr/bin'];
    const come = [`added ${at}`, `added ${at}/x object`, `added ${at}/y`];
    expect(changes(ETC, upper)).toEqual(absolute === '' ? [...gone, ...come] : [...come, ...gone]);
  });

  test('over another folder: what that had is gone', () => {
    const moved = dir({}, { 'trusted.overlay.redirect': '/usr' });
    expect(changes(ETC, { etc: moved, usr: whiteout })).toEqual([
      'opaque etc',
      '(deleted) etc/a',
      '(deleted) etc/b',
      'added etc/bin',
      'added etc/bin/x object',
      '(deleted) etc/c',
      'deleted usr',
    ]);
  });

  test('to nothing or to a file: the folder is on its own', () => {
    for (const redirect of ['/nowhere', '/usr/bin/x', '/usr/bin/x/y', 'nowhere']) {
      expect(changes(ETC, { new: dir({ y: file() }, { 'trusted.overlay.redirect': redirect }) })).toEqual([
        'added new',
        'added new/y',
      ]);
    }
  });

  test('an opaque folder has none', () => {
    const marks = { 'trusted.overlay.opaque': 'y', 'trusted.overlay.redirect': '/usr/bin' };
    expect(changes(ETC, { new: dir({}, marks) })).toEqual(['added new']);
  });
});

describe('metacopies', () => {
  test('have the content of the lower file, of their name or of another', () => {
    const redirect = { 'trusted.overlay.redirect': '/usr/bin/x' };
    expect(changes(ETC, { usr: dir({ bin: dir({ x: meta(3) }) }) })).toEqual(['changed usr/bin/x object']);
    expect(changes(ETC, { new: meta(3, redirect) })).toEqual(['added new object']);
    const [, entry] = entries(ETC, { new: meta(3, redirect) });
    expect(entry).toMatchObject({ content: { hex: tree(ETC).objectDigest(tree(ETC).resolve('usr/bin/x')) } });
  });

  test('that are equal after all are left out', () => {
    const upper = { ...meta(3), mode: 0o100644 };
    expect(changes(ETC, { usr: dir({ bin: dir({ x: upper }) }) })).toEqual([]);
  });

  test('with several names are found by any of them', () => {
    const linked = { ...meta(3), nlink: 2, key: 'k' };
    expect(changes(ETC, { also: linked, usr: dir({ bin: dir({ x: linked }) }) })).toEqual([
      'added also object',
      'changed usr/bin/x = also',
    ]);
  });
});

describe('hardlinks', () => {
  const lower = `a file size=1 sha256=${sha256('1')} #1\nb file #1\nc file`;
  const linked = (data: string, nlink = 2): Given => file(data, { nlink, key: 'k' });

  test('all names of a file that was copied up: one file', () => {
    expect(changes(lower, { a: linked('2'), b: linked('2') })).toEqual(['changed a upper', 'changed b = a']);
    expect(changes(lower, { a: linked('1'), b: linked('1') })).toEqual([]);
  });

  test('one name more, or less, or on its own: the others are given too', () => {
    expect(changes(lower, { a: linked('1', 3), b: linked('1', 3), d: linked('1', 3) })).toEqual([
      'same a upper',
      'same b = a',
      'added d = a',
    ]);
    expect(changes(lower, { a: file('1') })).toEqual(['same a upper']);
  });

  test('a renamed folder takes a name along: the name that stays is still the same file', () => {
    const moved = 'd dir\nd/a file size=1 sha256=aa #1\ne dir\ne/b file #1\nf file #1';
    const list = entries(moved, { d: whiteout, f: whiteout, new: dir({}, { 'trusted.overlay.redirect': '/d' }) });
    expect(brief(list)).toEqual(['deleted d', 'deleted f', 'added new', 'added new/a object', 'same e/b = new/a']);
  });
});

describe('hostile uppers', () => {
  const long = 'n'.repeat(250);
  let deep: Given = file();
  for (let i = 0; i < 20; i++) deep = dir({ [long]: deep });
  test.each<[string, Children, string, string]>([
    ['a redirect out', { e: dir({}, { 'trusted.overlay.redirect': '/../etc' }) }, 'corrupt', '/e'],
    ['a redirect with a dot', { e: dir({}, { 'user.overlay.redirect': '/./etc' }) }, 'corrupt', '/e'],
    ['an empty redirect', { e: dir({}, { 'trusted.overlay.redirect': '' }) }, 'corrupt', '/e'],
    ['a relative path', { e: dir({}, { 'trusted.overlay.redirect': 'usr/bin' }) }, 'corrupt', '/e'],
    ['a redirect to above', { e: dir({}, { 'trusted.overlay.redirect': '..' }) }, 'corrupt', '/e'],
    ['a NUL', { e: dir({}, { 'trusted.overlay.redirect': '/a\0b' }) }, 'corrupt', '/e'],
    ['an endless redirect', { e: dir({}, { 'trusted.overlay.redirect': `/${'a/'.repeat(3000)}b` }) }, 'corrupt', '/e'],
    ['a redirect to the root', { e: dir({}, { 'trusted.overlay.redirect': '/' }) }, 'corrupt', '/e'],
    [
      'two folders that continue one',
      { e: dir({}, { 'trusted.overlay.redirect': '/usr' }), f: dir({}, { 'trusted.overlay.redirect': '/usr/bin' }) },
      'corrupt',
      '/f',
    ],
    ['a loop', { usr: dir({ bin: dir({}, { 'trusted.overlay.redirect': '/usr' }) }) }, 'corrupt', '/usr/bin'],
    ['a metacopy of nothing', { e: meta(3) }, 'corrupt', '/e'],
    ['a metacopy of a folder', { usr: meta(3) }, 'corrupt', '/usr'],
    ['a metacopy of another size', { usr: dir({ bin: dir({ x: meta(4) }) }) }, 'corrupt', '/usr/bin/x'],
    ['a linked metacopy of nothing', { e: { ...meta(3), nlink: 2, key: 'k' } }, 'corrupt', '/e'],
    ['a folder as whiteout', { '.wh.e': dir({}) }, 'corrupt', '/.wh.e'],
    ['a whiteout of ..', { '.wh...': file() }, 'corrupt', '/.wh...'],
    ['a whiteout of no name', { '.wh.': file() }, 'corrupt', '/.wh.'],
    ['a whiteout of a whiteout', { '.wh..wh.a': file() }, 'corrupt', '/.wh..wh.a'],
    ['too deep', { e: deep }, 'corrupt', '4096'],
    ['an index', { e: file('', { marks: { 'trusted.overlay.nlink': 'U+1' } }) }, 'unimplemented', '/e'],
  ])('%s', (_, upper, code, path) => {
    expect(() => entries(ETC, upper)).toThrowError(
      expect.objectContaining({ code, message: expect.stringContaining(path) as unknown }) as Error,
    );
  });
});

test('whatever lies in an upper: an error with a path, or no more entries than there are names', () => {
  const lower = tree(`${ETC}\nd dir\nd/e dir\nd/e/f file #1\ng file #1\nh symlink -> etc`);
  const names = fc.constantFrom('a', 'd', 'e', 'etc', 'g', 'h', 'usr', 'bin', 'x', '.wh.etc', '.wh.d', '.wh..wh..opq');
  const paths = fc.constantFrom(
    '/etc',
    '/usr',
    '/usr/bin',
    '/d',
    '/d/e',
    '/d/e/f',
    'etc',
    'x',
    '/',
    '..',
    '/../x',
    'bin',
  );
  const marks = fc.dictionary(
    fc.constantFrom(
      'trusted.overlay.redirect',
      'user.overlay.redirect',
      'trusted.overlay.opaque',
      'user.overlay.metacopy',
    ),
    fc.oneof(paths, fc.constantFrom('y', 'x', '')),
    { maxKeys: 2 },
  );
  const mode = fc.constantFrom(0o100644, 0o020000, 0o020644, 0o120777, 0o140755, 0o010644);
  const leaf = fc.record({
    mode,
    marks,
    size: fc.nat(3),
    nlink: fc.constantFrom(1, 2),
    key: fc.constantFrom('1', '2', '3'),
  });
  const { node } = fc.letrec<{ node: Given }>((tie) => ({
    node: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaf.map((given): Given => ({ ...given, target: 't' })),
      fc.record({ mode: fc.constant(0o040755), marks, children: fc.dictionary(names, tie('node'), { maxKeys: 4 }) }),
    ),
  }));
  const count = (given: Given): number =>
    1 + Object.values(given.children ?? {}).reduce((sum, child) => sum + count(child), 0);
  fc.assert(
    fc.property(fc.dictionary(names, node, { maxKeys: 5 }), fc.boolean(), (children, forLayer) => {
      const given = dir(children);
      const root = memoryUpper(given);
      try {
        const list = [...upperEntries(lower, root, { forLayer })];
        // An entry, an opaque mark and what it hides, and the folders on the way to links that stay.
        expect(list.length).toBeLessThanOrEqual(3 * (count(given) + lower.direntCount));
      } catch (error) {
        expect(error).toBeInstanceOf(LayerfsError);
        expect((error as LayerfsError).code).toMatch(/^(corrupt|unimplemented)$/);
      } finally {
        root.close();
      }
      expect(open).toBe(0);
    }),
    { numRuns: 2000 },
  );
});

test('two trees', () => {
  const from = tree(ETC);
  const to = tree(
    'etc file\nnew dir\nnew/f file\nusr dir 0700\nusr/bin dir\nusr/bin/x file sha256=ab size=3 #1\nusr/bin/y file #1',
  );
  expect(brief([...new TreeEntries(to, from).all()])).toEqual([
    'changed etc',
    'added new',
    'added new/f',
    'changed usr',
    'changed usr/bin/x object',
    'added usr/bin/y = usr/bin/x',
  ]);
  expect(changesOf(new TreeEntries(from, to).all()).map(({ kind, path }) => `${kind} ${path}`)).toContain(
    'deleted new',
  );
  expect(changesOf(new TreeEntries(to, tree(ETC)).all()).map(({ path }) => path)).toEqual(
    changesOf(new TreeEntries(to, from).all()).map(({ path }) => path),
  );
});
