import fc from 'fast-check';
import xxhash from 'xxhash-wasm';
import { describe, expect, it } from 'vitest';
import { TreeBuilder } from '../tree/builder.js';
import { ROOT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../tree/format.js';
import { parseTree } from '../tree/parse.js';
import { Tree } from '../tree/tree.js';
import { crc32c } from './crc32c.js';
import { ErofsImage, type ErofsOptions } from './image.js';
import { readImage, type ReadImage, type ReadInode } from './read-image.test-support.js';

const hash = await xxhash();
const LAYERS = [new Uint8Array(32).fill(1)];

function bytesOf(tree: Tree, options: ErofsOptions = {}): Uint8Array {
  const image = new ErofsImage(tree, options);
  const bytes = new Uint8Array(Buffer.concat([...image.write()]));
  expect(bytes.length).toBe(image.size);
  return bytes;
}

const treeOf = (text: string): Tree => Tree.open(parseTree(text, { layers: LAYERS, hash }), { verify: hash });
const imageOf = (text: string): ReadImage => readImage(bytesOf(treeOf(text)));
const built = (builder: TreeBuilder): Tree => Tree.open(builder.finish({ layers: LAYERS, hash }), { verify: hash });

function at(image: ReadImage, path: string): ReadInode {
  const inode = image.entries.get(path);
  if (inode === undefined) throw new Error(`no ${path}`);
  return inode;
}

const ESCAPED = 'trusted.overlay.overlay.';

/** Everything that the image says equals what the tree says. */
function expectSame(tree: Tree, image: ReadImage): void {
  const entries = [{ path: '', ino: ROOT as number, dirent: -1 }, ...tree.walk()];
  expect(image.entries.size).toBe(entries.length);
  const nids = new Map<number, number>();
  for (const { path, ino, dirent } of entries) {
    const inode = at(image, path);
    if (dirent >= 0 && tree.isWhiteout(dirent)) {
      expect(inode).toMatchObject({ mode: S_IFCHR, rdev: 0 });
      continue;
    }
    const type = tree.mode(ino) & S_IFMT;
    expect(inode).toMatchObject({
      mode: tree.mode(ino),
      uid: tree.uid(ino),
      gid: tree.gid(ino),
      nlink: tree.nlink(ino),
      mtime: [tree.mtimeSec(ino), tree.mtimeNsec(ino)],
      rdev: tree.rdev(ino),
    });
    if (type === S_IFREG) expect(inode.size).toBe(tree.size(ino));
    expect(inode.target).toBe(type === S_IFLNK ? tree.symlinkTarget(ino) : undefined);
    const expected = new Map(
      tree
        .xattrs(ino)
        .map(([name, value]) => [name.replace(/^trusted\.overlay\./, ESCAPED), Buffer.from(value).toString('latin1')]),
    );
    const digest = tree.objectDigest(ino);
    if (digest !== undefined) {
      expected.set('trusted.overlay.metacopy', '');
      expected.set('trusted.overlay.redirect', `/${digest.slice(0, 2)}/${digest.slice(2)}`);
    }
    if (tree.isOpaque(ino)) expected.set('trusted.overlay.opaque', 'y');
    expect(inode.xattrs).toEqual(expected);
    // One inode for all names of a file.
    expect(nids.get(ino) ?? inode.nid).toBe(inode.nid);
    nids.set(ino, inode.nid);
  }
  expect(new Set(nids.values()).size).toBe(nids.size);
}

it('has the checksum that CRC catalogues give for "123456789", not inverted', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(~0xe3069283 >>> 0);
});

describe('an image', () => {
  it('of an empty folder is one block that any kernel with EROFS takes', () => {
    const image = imageOf('/ dir 0755 0:0 @5');
    expect([...image.entries.keys()]).toEqual(['']);
    expect(image.incompatible).toBe(0);
    expect(bytesOf(treeOf('/ dir 0755')).length).toBe(4096);
  });

  it('names the object of a file with content, and of an empty one nothing', () => {
    const image = imageOf('empty file\nfull file sha256=abcd size=5');
    expect([...at(image, 'full').xattrs]).toEqual([
      ['trusted.overlay.metacopy', ''],
      ['trusted.overlay.redirect', `/ab/cd${'0'.repeat(60)}`],
    ]);
    expect(at(image, 'full')).toMatchObject({ size: 5, layout: 4 });
    expect(at(image, 'empty')).toMatchObject({ size: 0, layout: 0, xattrs: new Map() });
    expect(image.incompatible).toBe(4);
  });

  it.each([1, 4095, 4096, 4097, 2 ** 32 - 1, 2 ** 32, 2 ** 43, 2 ** 43 + 1, Number.MAX_SAFE_INTEGER])(
    'has a file of %d bytes as holes',
    (size) => {
      const inode = at(imageOf(`file file sha256=01 size=${size}`), 'file');
      expect(inode.size).toBe(size);
      expect(inode.extended).toBe(size >= 2 ** 32);
    },
  );

  it('gives the time of most inodes to the image, and short inodes to those', () => {
    const image = imageOf(
      '/ dir 0755 0:0 @7.5\na file 0644 0:0 @7.000000005\nb file 0644 0:0 @7.000000005\nc file 0644 0:0 @8\n',
    );
    expect(at(image, 'a')).toMatchObject({ extended: false, mtime: [7, 5] });
    expect(at(image, 'c')).toMatchObject({ extended: true, mtime: [8, 0] });
  });

  it.each([
    ['uid over 16 bits', 'file 0644 65536:0'],
    ['gid over 16 bits', 'file 0644 0:4294967294'],
    ['time before 1970', 'file 0644 0:0 @-1.999999999'],
  ])('takes a long inode for a %s', (_, line) => {
    const text = `a ${line}\nb dir\nc dir`;
    const image = imageOf(text);
    expect(at(image, 'a').extended).toBe(true);
    expectSame(treeOf(text), image);
  });

  it('spells whiteouts and opaque folders as overlayfs does, all whiteouts as one inode', () => {
    const builder = new TreeBuilder();
    const folder = builder.addInode({ mode: S_IFDIR | 0o755, uid: 0, gid: 0, mtimeSec: 0 });
    builder.link(ROOT, 'd', folder);
    builder.setOpaque(folder);
    builder.whiteout(ROOT, 'a');
    builder.whiteout(folder, 'b');
    const tree = built(builder);
    const image = readImage(bytesOf(tree));
    expect(at(image, 'a')).toMatchObject({ mode: S_IFCHR, rdev: 0, nlink: 2 });
    expect(at(image, 'd/b').nid).toBe(at(image, 'a').nid);
    expect([...at(image, 'd').xattrs]).toEqual([['trusted.overlay.opaque', 'y']]);
  });

  it('keeps attributes, and spells those that overlayfs would take for its own so that it gives them back', () => {
    const acl = 'xattr:system.posix_acl_access=0200000001000600ffffffff';
    const image = imageOf(
      `a file ${acl} xattr:trusted.overlay.redirect=2f78 xattr:trusted.x=01 xattr:user.x= xattr:security.capability=00`,
    );
    expect(at(image, 'a').xattrs).toEqual(
      new Map([
        ['security.capability', '\0'],
        ['system.posix_acl_access', '\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff'],
        ['trusted.overlay.overlay.redirect', '/x'],
        ['trusted.x', '\x01'],
        ['user.x', ''],
      ]),
    );
  });

  it('sorts . and .. among names that come before them', () => {
    const names = ['!', '-', '.\\x01', '.-', '..\\x01', '...', '.a', 'a'];
    const tree = treeOf(names.map((name) => `${name} file`).join('\n'));
    expectSame(tree, readImage(bytesOf(tree)));
  });

  it('has folders of many blocks, long targets and gaps between them', () => {
    const lines = ['big dir 0755 0:0 @9'];
    for (let i = 0; i < 3000; i++)
      lines.push(`big/${'n'.repeat(i % 200)}${i} file sha256=${(i % 250).toString(16).padStart(2, '0')} size=${i + 1}`);
    for (let i = 1; i < 4096; i += 273) lines.push(`link${i} symlink -> ${'t'.repeat(i)}`);
    for (let i = 0; i < 300; i++) lines.push(`d${i}/${'f'.repeat(1 + ((i * 7) % 250))} file`);
    const tree = treeOf(lines.join('\n'));
    expectSame(tree, readImage(bytesOf(tree)));
  });

  it('fills what would be left free before what must lie in one block', () => {
    const lines: string[] = [];
    for (let i = 0; i < 4000; i++)
      lines.push(
        `d${i % 400}/${'f'.repeat(1 + (i % 90))}${i} file sha256=${(i % 200).toString(16).padStart(2, '0')}${'0'.repeat(50)}${i} size=1`,
      );
    const tree = treeOf(lines.join('\n'));
    const image = readImage(bytesOf(tree));
    // Short inodes with two shared attributes and a chunk, their dirents, and the attributes.
    let least = 1152 + tree.objectCount * 88;
    for (const { size, mode } of image.entries.values()) least += (mode & S_IFMT) === S_IFDIR ? 32 + size : 64;
    expect(bytesOf(tree).length).toBeLessThan(least * 1.04 + 3 * 4096);
  });

  it('is the same for the same tree, with another UUID where one is given', () => {
    const text = 'a file sha256=01 size=3\nb/c symlink -> x';
    expect(bytesOf(treeOf(text))).toEqual(bytesOf(treeOf(text)));
    const uuid = new Uint8Array(16).fill(9);
    expect(readImage(bytesOf(treeOf(text), { uuid })).uuid).toEqual(uuid);
  });
});

describe('what no kernel mount can show is refused, naming the file', () => {
  it.each([
    ['a character device 0:0', 'dev/x char 0600 rdev=0', /^\/dev\/x: a character device 0:0/],
    ['an attribute of another namespace', 'dir/f file xattr:com.apple.x=01', /^\/dir\/f: .*com\.apple\.x/],
    ['an attribute without a name of its own', 'f file xattr:user.=01', /^\/f: .*user\./],
    [
      'an attribute that is too long when escaped',
      `f file xattr:trusted.overlay.${'x'.repeat(239)}=01`,
      /^\/f: .*trusted\.overlay/,
    ],
    ['an attribute that is too large', `/ dir xattr:user.x=${'00'.repeat(65536)}`, /^\/: .*65536 bytes/],
    [
      'too many attributes',
      `f file ${Array.from({ length: 254 }, (_, i) => `xattr:user.${i}=`).join(' ')}`,
      /^\/f: 254 extended attributes/,
    ],
    ['a link to a lower layer', 'f lowerlink -> x', /^f: a hardlink to a file of a lower layer/],
  ])('%s', (_, text, message) => {
    expect(() => bytesOf(treeOf(text))).toThrow(
      expect.objectContaining({ code: 'unimplemented', message: expect.stringMatching(message) }),
    );
  });

  it('but not what is just within the limits', () => {
    const many = Array.from({ length: 253 }, (_, i) => `xattr:user.${i}=`).join(' ');
    const text = `f file sha256=01 size=1 ${many}\ng file xattr:user.x=${'07'.repeat(65535)}`;
    expectSame(treeOf(text), imageOf(text));
  });
});

const bytes = (max: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength: max });
const name = fc
  .uint8Array({ minLength: 1, maxLength: 255 })
  .map((raw) => Buffer.from(raw).toString('latin1').replaceAll(/[\0/]/g, 'x'))
  .filter((text) => text !== '.' && text !== '..' && !text.startsWith('.wh.'));
const attributes = fc.record({
  permissions: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xfffffffe })),
  gid: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xfffffffe })),
  mtimeSec: fc.oneof(fc.constant(1000), fc.integer({ min: -(2 ** 40), max: 2 ** 40 })),
  mtimeNsec: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 999_999_999 })),
  xattrs: fc.dictionary(
    fc.constantFrom('user.a', 'trusted.overlay.opaque', 'trusted.b', 'security.c', 'system.posix_acl_default'),
    bytes(300),
    { maxKeys: 3 },
  ),
});
const entry = fc.record({
  attributes,
  name,
  folder: fc.nat(),
  kind: fc.constantFrom(
    S_IFREG,
    S_IFREG,
    S_IFREG,
    S_IFDIR,
    S_IFDIR,
    S_IFLNK,
    S_IFBLK,
    S_IFCHR,
    S_IFIFO,
    S_IFSOCK,
    0,
    -1,
  ),
  size: fc.oneof(fc.nat({ max: 9000 }), fc.maxSafeNat()),
  target: fc.uint8Array({ minLength: 1, maxLength: 4095 }),
});

it('any tree reads back as it is', () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 120 }), (entries) => {
      const builder = new TreeBuilder();
      const folders = [ROOT as number];
      const files: number[] = [];
      for (const each of entries) {
        const parent = folders[each.folder % folders.length];
        if (builder.find(parent, each.name) !== 0) continue;
        if (each.kind === 0) {
          builder.whiteout(parent, each.name);
          continue;
        }
        if (each.kind === -1) {
          if (files.length > 0) builder.link(parent, each.name, files[each.folder % files.length]);
          continue;
        }
        const { permissions, xattrs, ...rest } = each.attributes;
        const device = each.kind === S_IFBLK || each.kind === S_IFCHR;
        const ino = builder.addInode({
          ...rest,
          mode: each.kind | permissions,
          xattrs: Object.entries(xattrs),
          ...(device ? { rdev: 1 + (each.size % 0xffffffff) } : {}),
        });
        if (each.kind === S_IFDIR) {
          folders.push(ino);
          if (each.size % 5 === 0) builder.setOpaque(ino);
        } else files.push(ino);
        if (each.kind === S_IFLNK) {
          builder.setSymlink(ino, Buffer.from(each.target).toString('latin1').replaceAll('\0', 'x'));
        }
        if (each.kind === S_IFREG && each.size > 0) {
          builder.setContent(ino, builder.addObject(new Uint8Array(32).fill(each.size)), each.size);
        }
        builder.link(parent, each.name, ino);
      }
      const tree = built(builder);
      expectSame(tree, readImage(bytesOf(tree)));
    }),
    { numRuns: Number(process.env['LAYERFS_EROFS_RUNS'] ?? 60) },
  );
});
