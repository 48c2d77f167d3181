import xxhash from 'xxhash-wasm';
import { describe, expect, test } from 'vitest';
import { mergeTrees } from './merge.js';
import { parseTree } from './parse.js';
import { dumpTree } from './text.js';
import { Tree } from './tree.js';

const hash = await xxhash();

/** Trees of layers written as text, lowest first; layer i has the diffID 0101…, 0202…, and so on. */
function layers(...texts: string[]): Tree[] {
  return texts.map((text, i) => Tree.open(parseTree(text, { layers: [new Uint8Array(32).fill(i + 1)], hash })));
}

function merge(...texts: string[]): Tree {
  return Tree.open(mergeTrees(layers(...texts), { hash }), { verify: hash });
}

/** Without the root's line and with defaults left out, so that cases stay readable. */
function brief(tree: Tree): string[] {
  return dumpTree(tree)
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) =>
      line
        .replace(' dir 0755', ' dir')
        .replace(' file 0644', ' file')
        .replace(' symlink 0777', ' symlink')
        .replace(' 0:0', '')
        .replace(' @0', '')
        .replace(/(sha256=.*?)0{16,}/, '$1')
        .replace(' size=0', ''),
    );
}

describe('mergeTrees', () => {
  test('the topmost layer wins, other names come together in byte order', () => {
    expect(brief(merge('b file sha256=aa size=3\nd file', 'a file\nb file sha256=bb size=5\nc file'))).toEqual([
      'a file layer=1',
      'b file size=5 sha256=bb layer=1',
      'c file layer=1',
      'd file',
    ]);
  });

  test('folders merge, with the topmost attributes that were given', () => {
    const result = merge(
      'etc dir 0700 1:1 @1 xattr:user.low=01\netc/a file',
      'etc dir 0711 2:2 @2\netc/b file',
      'etc/c file', // implied: nobody gave attributes
    );
    expect(brief(result)).toEqual([
      'etc dir 0711 2:2 @2 layer=1',
      'etc/a file',
      'etc/b file layer=1',
      'etc/c file layer=2',
    ]);
  });

  test('an implied folder that is opaque hides the children of the lower one, not its attributes', () => {
    const base = 'etc dir 0700 1:1 @1\netc/a file\nsrv dir 0711\nsrv/a file';
    const result = merge(base, 'etc dir implied\netc/b file', 'etc dir implied opaque\netc/c file\nsrv whiteout');
    expect(brief(result)).toEqual(['etc dir 0700 1:1 @1', 'etc/c file layer=2']);
    expect(brief(merge(base, 'srv whiteout', 'srv dir implied opaque'))).toContain('srv dir layer=2');
  });

  test('a folder that is implied in all layers keeps the attributes of the lowest', () => {
    expect(brief(merge('etc dir 0700 implied', 'etc dir 0711 implied'))).toEqual(['etc dir 0700']);
  });

  test('the root takes the topmost given attributes too', () => {
    const result = merge('/ dir 0700 3:4 @9', 'a file');
    expect(dumpTree(result).split('\n')[0]).toBe('/ dir 0700 3:4 @9');
  });

  test('a whiteout hides a name of every lower layer, and leaves no trace', () => {
    expect(
      brief(merge('a file\nd/x file\nk file', 'a file\nd/y file', 'a whiteout\nd whiteout\nnothing whiteout')),
    ).toEqual(['k file']);
  });

  test('what comes back above a whiteout does not bring the lower content back', () => {
    expect(brief(merge('d dir\nd/x file', 'd whiteout', 'd dir\nd/y file'))).toEqual([
      'd dir layer=2',
      'd/y file layer=2',
    ]);
  });

  test('a folder with a whiteout of its own name is opaque', () => {
    expect(brief(merge('d dir\nd/x file', 'd dir\nd/y file\nd whiteout'))).toEqual([
      'd dir layer=1',
      'd/y file layer=1',
    ]);
    expect(brief(merge('d dir\nd/x file', 'd whiteout\nd dir\nd/y file'))).toEqual([
      'd dir layer=1',
      'd/y file layer=1',
    ]);
  });

  test('opaque hides lower names but not those above', () => {
    expect(brief(merge('d/x file', 'd dir opaque\nd/y file', 'd/z file'))).toEqual([
      'd dir layer=1',
      'd/y file layer=1',
      'd/z file layer=2',
    ]);
  });

  test('an opaque root hides everything below', () => {
    expect(brief(merge('x file', '/ dir opaque\ny file', 'z file'))).toEqual(['y file layer=1', 'z file layer=2']);
  });

  test('a file replaces a folder, a folder replaces a file, and neither looks further down', () => {
    expect(brief(merge('d/x file', 'd file'))).toEqual(['d file layer=1']);
    expect(brief(merge('d/x file', 'd file', 'd/y file'))).toEqual(['d dir layer=2', 'd/y file layer=2']);
    expect(brief(merge('d/x file', 'd symlink -> e', 'd/y file'))).toEqual(['d dir layer=2', 'd/y file layer=2']);
  });

  test('hardlinks stay one inode, and count only the names that are seen', () => {
    const result = merge('a file #1\nb file #1\nc file #1\nsub/d file #1', 'b file\nc whiteout');
    expect(brief(result)).toEqual(['a file #1', 'b file layer=1', 'sub dir', 'sub/d file #1']);
    expect(result.nlink(result.resolve('a'))).toBe(2);
    const alone = merge('a file #1\nb file #1', 'b whiteout');
    expect(alone.nlink(alone.resolve('a'))).toBe(1);
  });

  test('nlink of a folder counts its folders', () => {
    const result = merge('d/a/x file\nd/b/x file', 'd/c/x file\nd/a whiteout\nd/f file');
    expect(result.nlink(result.resolve('d'))).toBe(4);
    expect(result.nlink(1)).toBe(3);
  });

  test('symbolic links, devices, xattrs and long files keep what they have', () => {
    const text = [
      'c char 0600 0:5 @1.000000002 rdev=259',
      'f fifo 0600',
      'l symlink @3 -> ../x\\x20\\xff',
      'n file 4755 @-1 size=9007199254740991 sha256=cc #1 xattr:security.capability=0100 xattr:user.\\xff=',
      'o file 4755 @-1 size=9007199254740991 sha256=cc #1 xattr:security.capability=0100 xattr:user.\\xff=',
    ].join('\n');
    const [tree] = layers(text);
    expect(dumpTree(merge(text))).toBe(dumpTree(tree).replace(' implied', ''));
    expect(dumpTree(merge('z file', text, 'y file'))).toContain('o file 4755 0:0 @-1 size=9007199254740991');
  });

  test('objects are one table without doubles, of what is seen only', () => {
    const result = merge('a file sha256=aa\nb file sha256=bb\nc file sha256=cc', 'b file sha256=cc\nd file sha256=aa');
    expect(result.objectCount).toBe(2);
    expect(result.digestAt(0)).toBe('aa'.padEnd(64, '0'));
    expect(result.objectIndex(result.resolve('a'))).toBe(result.objectIndex(result.resolve('d')));
  });

  test('the layer table has all diffIDs, lowest first', () => {
    const result = merge('a file', 'b file');
    expect([result.layerDigest(0), result.layerDigest(1)]).toEqual([
      `sha256:${'01'.repeat(32)}`,
      `sha256:${'02'.repeat(32)}`,
    ]);
  });

  describe('lower links', () => {
    test('name the same inode as the lower name', () => {
      const result = merge('usr/bin/perl file size=7 sha256=aa', 'usr/bin/perl5 lowerlink -> usr/bin/perl');
      expect(brief(result).slice(2)).toEqual([
        'usr/bin/perl file size=7 sha256=aa #1',
        'usr/bin/perl5 file size=7 sha256=aa #1',
      ]);
    });

    test('keep the inode when its own name is hidden by the same layer', () => {
      expect(brief(merge('a file sha256=aa', 'a whiteout\nb lowerlink -> a'))).toEqual(['b file size=1 sha256=aa']);
      expect(brief(merge('a file sha256=aa', 'a file sha256=bb\nb lowerlink -> a'))).toEqual([
        'a file size=1 sha256=bb layer=1',
        'b file size=1 sha256=aa',
      ]);
    });

    test('without a lower target, mean what comes later in the same layer', () => {
      expect(brief(merge('x file', 'a file sha256=bb\nb lowerlink -> a'))).toEqual([
        'a file size=1 sha256=bb #1 layer=1',
        'b file size=1 sha256=bb #1 layer=1',
        'x file',
      ]);
      expect(() => merge('x file', 'b lowerlink -> b')).toThrow(/hardlink b to b, which is in no layer/);
    });

    test('go through lower links of lower layers', () => {
      expect(brief(merge('a file', 'b lowerlink -> a', 'c lowerlink -> b'))).toEqual([
        'a file #1',
        'b file #1',
        'c file #1',
      ]);
    });

    test('may name a symbolic link, which is not followed', () => {
      expect(brief(merge('a symlink -> x', 'b lowerlink -> a'))).toEqual(['a symlink -> x #1', 'b symlink -> x #1']);
    });

    test.each([
      ['missing', 'a file', 'is in no layer'],
      ['hidden by a whiteout', 'd/t file | d/t whiteout', 'is in no layer'],
      ['in a hidden folder', 'd/t file | d whiteout', 'is in no layer'],
      ['in an opaque folder', 'd/t file | d dir opaque', 'is in no layer'],
      ['behind a file', 'd/t file | d file', 'is in no layer'],
      ['behind a symbolic link', 'e/t file\nd symlink -> e', 'is in no layer'],
      ['a folder', 'd/t dir', 'is a folder'],
    ])('%s: a clear error', (_, below, why) => {
      expect(() => merge(...below.split(' | '), 'n/l lowerlink -> d/t')).toThrow(
        expect.objectContaining({
          code: 'invalid-argument',
          message: expect.stringMatching(new RegExp(`layer sha256:(02|03).*hardlink n/l to d/t, which ${why}`)),
        }),
      );
    });

    test('a hidden one is not resolved', () => {
      expect(brief(merge('a file', 'b lowerlink -> gone', 'b whiteout'))).toEqual(['a file']);
    });
  });

  test('merging step by step gives the same as merging at once', () => {
    const texts = [
      'a file #1\nb file #1\nd/x file',
      'd dir 0700 opaque\nd/y file\nl lowerlink -> a',
      'b whiteout\nd/z file\nd/y whiteout',
    ];
    const [one, two, three] = layers(...texts);
    const both = Tree.open(mergeTrees([one, two], { hash }));
    expect(dumpTree(Tree.open(mergeTrees([both, three], { hash })))).toBe(dumpTree(merge(...texts)));
  });

  test('no layers: an empty root', () => {
    const empty = Tree.open(mergeTrees([], { hash }), { verify: hash });
    expect([empty.inodeCount, empty.layerCount, empty.isDirectory(1)]).toEqual([1, 0, true]);
  });

  test('127 layers that share a folder', () => {
    const texts = Array.from(
      { length: 127 },
      (_, i) => `d/f${i} file\nd/same file sha256=${(i + 1).toString(16).padStart(2, '0')}`,
    );
    const result = merge(...texts);
    expect(result.childCount(result.resolve('d'))).toBe(128);
    expect(result.layer(result.resolve('d/same'))).toBe(126);
  });
});
