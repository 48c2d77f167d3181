/**
 * The layer of odd entries that stands below `odd-upper.ts`: what a filesystem or a tar can hold that programs forget.
 * Each group is there because some implementation got it wrong.
 */
import { sparseOldGnu, sparsePax } from './sparse.js';
import { globalHeader, type TarEntry } from './tar.js';

type Piece = TarEntry | Uint8Array[];

const TIME = 1_600_000_000;

/** Bytes that do not compress away and are the same in each build. */
export function noise(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed * 2654435761;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = state >>> 23;
  }
  return bytes;
}

function folder(name: string, more: Partial<TarEntry> = {}): TarEntry {
  return { name: `${name}/`, mode: 0o755, mtime: TIME, ...more };
}

function file(name: string, data: Uint8Array | string, more: Partial<TarEntry> = {}): TarEntry {
  return { name, data, mode: 0o644, mtime: TIME, ...more };
}

function symlink(name: string, linkname: string, more: Partial<TarEntry> = {}): TarEntry {
  return { name, type: '2', linkname, mode: 0o777, mtime: TIME, ...more };
}

function hardlink(name: string, linkname: string, more: Partial<TarEntry> = {}): TarEntry {
  return { name, type: '1', linkname, mode: 0o644, mtime: TIME, ...more };
}

const modes: Piece[] = [
  folder('odd/modes'),
  file('odd/modes/setuid', 'setuid', { mode: 0o4755 }),
  file('odd/modes/setgid', 'setgid', { mode: 0o2755 }),
  file('odd/modes/setuid-owned', 'setuid of another owner', { mode: 0o6711, uid: 1000, gid: 1000 }),
  file('odd/modes/none', 'nobody may read', { mode: 0 }),
  folder('odd/modes/sticky', { mode: 0o1777 }),
  folder('odd/modes/setgid-folder', { mode: 0o2775, gid: 50 }),
  file('odd/modes/owner', 'x', { uid: 1000, gid: 2000 }),
  file('odd/modes/owner-pax', 'x', { uid: 3_000_000_000, gid: 4_000_000_000 }),
  file('odd/modes/owner-base256', 'x', { uid: 3_000_000_001, gid: 4_000_000_001, form: 'gnu' }),
  file('odd/modes/names', 'x', { pax: { uname: 'nobody-here', gname: 'no-such-group' } }),
];

const times: Piece[] = [
  folder('odd/times', { mtime: 1 }),
  file('odd/times/epoch', 'x', { mtime: 0 }),
  file('odd/times/nanoseconds', 'x', { mtime: '1700000000.123456789' }),
  file('odd/times/short-fraction', 'x', { mtime: '1700000000.5' }),
  file('odd/times/before-1970', 'x', { mtime: -86_400 }),
  file('odd/times/before-1970-base256', 'x', { mtime: -86_401, form: 'gnu' }),
  file('odd/times/after-2038', 'x', { mtime: 4_000_000_000 }),
  file('odd/times/after-2106', 'x', { mtime: 8_000_000_000 }),
  file('odd/times/other-times', 'x', { pax: { atime: '1.5', ctime: '2.5', 'LIBARCHIVE.creationtime': '3' } }),
  symlink('odd/times/link', 'epoch', { mtime: '1234567890.987654321' }),
];

/** Names that are bytes, not text. */
const NAMES = [
  'n'.repeat(255),
  '\xff\xfe\x80 not UTF-8',
  '\xc3\xa9 composed',
  'e\xcc\x81 decomposed',
  '\xf0\x9f\x90\xb3 whale',
  'new\nline',
  'tab\tand \x01control\x7f',
  ' leading and trailing ',
  '-rf',
  '*?[a]{b}$(c)`d`',
  'back\\slash',
  '"quotes\'',
  '...',
  '.hidden',
  'wh.not-a-whiteout',
  'x.wh.not-a-whiteout',
  '.wh',
  'A',
  'a',
  'con=equals',
];

const names: Piece[] = [
  folder('odd/names'),
  ...NAMES.map((name, index) => file(`odd/names/${name}`, `name ${index}\n`)),
  folder('odd/names/\xe9 latin-1 folder'),
  file('odd/names/\xe9 latin-1 folder/\xe8', 'x', { pax: { hdrcharset: 'BINARY' } }),
];

const DEEP = Array.from({ length: 8 }, (_, index) => `${index}${'d'.repeat(199)}`).join('/');

const long: Piece[] = [
  folder('odd/long'),
  file(`odd/long/${'p'.repeat(120)}/${'q'.repeat(90)}`, 'fits the ustar prefix field', { form: 'ustar' }),
  file(`odd/long/${'x'.repeat(150)}`, 'PAX path'),
  file(`odd/long/${'g'.repeat(150)}`, 'GNU long name', { form: 'gnu' }),
  file(`odd/long/${DEEP}/pax`, 'a path of 1,600 bytes'),
  file(`odd/long/${DEEP}/gnu`, 'a path of 1,600 bytes', { form: 'gnu' }),
  symlink('odd/long/pax-link', `../${'t'.repeat(200)}/../${'u'.repeat(200)}`),
  symlink('odd/long/gnu-link', `../${'v'.repeat(200)}/../${'w'.repeat(200)}`, { form: 'gnu' }),
  symlink('odd/long/longest-link', `/${'l'.repeat(2999)}`),
  hardlink('odd/long/hard', `odd/long/${'x'.repeat(150)}`),
  hardlink('odd/long/hard-gnu', `odd/long/${DEEP}/gnu`, { form: 'gnu' }),
];

const links: Piece[] = [
  folder('odd/links'),
  file('odd/links/one', 'three names\n'),
  hardlink('odd/links/two', 'odd/links/one'),
  hardlink('odd/links/three', './odd/links/two'),
  symlink('odd/links/relative', 'one'),
  symlink('odd/links/absolute', '/odd/links/one'),
  symlink('odd/links/dangling', 'nowhere/at/all'),
  symlink('odd/links/loop', 'loop'),
  symlink('odd/links/dots', '../../../../..//odd/./links/one'),
  symlink('odd/links/bytes', '\xff\xfe'),
  hardlink('odd/links/second-symlink', 'odd/links/relative'),
];

const devices: Piece[] = [
  folder('odd/dev'),
  { name: 'odd/dev/null', type: '3', major: 1, minor: 3, mode: 0o666, mtime: TIME },
  { name: 'odd/dev/large-minor', type: '3', major: 10, minor: 70_000, mode: 0o600, mtime: TIME },
  { name: 'odd/dev/block', type: '4', major: 259, minor: 300, mode: 0o660, gid: 6, mtime: TIME },
  { name: 'odd/dev/fifo', type: '6', mode: 0o640, mtime: TIME },
  hardlink('odd/dev/fifo-too', 'odd/dev/fifo'),
];

/** struct vfs_cap_data version 2: cap_net_raw+ep, as on /bin/ping. */
export const NET_RAW = Buffer.from('0100000200200000000000000000000000000000', 'hex');

const xattrs: Piece[] = [
  folder('odd/xattrs', { xattrs: { 'user.folder': 'of a folder', 'trusted.folder': 'also' } }),
  file('odd/xattrs/several', 'x', {
    xattrs: { 'user.a': 'text', 'user.empty': '', 'user.b=c': 'k', 'trusted.t': 't' },
  }),
  file('odd/xattrs/binary', 'x', { xattrs: { 'user.binary': Buffer.from(Array.from({ length: 256 }, (_, i) => i)) } }),
  file('odd/xattrs/newline', 'x', { xattrs: { 'user.lines': 'a\nb=c\n', 'user.\xc3\xa9': 'UTF-8 name' } }),
  file('odd/xattrs/same-1', '1', { xattrs: { 'user.same': 'set' } }),
  file('odd/xattrs/same-2', '2', { xattrs: { 'user.same': 'set' } }),
  file('odd/xattrs/large', 'x', { xattrs: { 'user.large': noise(2000, 9) } }),
  file('odd/xattrs/capability', 'x', { mode: 0o755, xattrs: { 'security.capability': NET_RAW } }),
  file('odd/xattrs/linked', 'x', { xattrs: { 'user.linked': 'seen through both names' } }),
  hardlink('odd/xattrs/linked-too', 'odd/xattrs/linked'),
  symlink('odd/xattrs/symlink', 'several', { xattrs: { 'trusted.symlink': 'on the link itself' } }),
  { name: 'odd/xattrs/fifo', type: '6', mode: 0o600, mtime: TIME, xattrs: { 'trusted.fifo': 'f' } },
];

/** As GNU tar makes them: pieces start and end on blocks of 512, but for the file's own end. */
const PIECES = [
  { offset: 4096, data: noise(1024, 2) },
  { offset: 65_536, data: noise(4096, 3) },
  { offset: 200_192, data: noise(1536, 4) },
];
const MANY = Array.from({ length: 60 }, (_, index) => ({ offset: index * 8192 + 512, data: noise(1024, 10 + index) }));
const sparse = (name: string, realSize: number, pieces = PIECES) => ({
  name,
  mtime: TIME,
  mode: 0o644,
  realSize,
  pieces,
});

const sizes: Piece[] = [
  folder('odd/sizes'),
  file('odd/sizes/empty', ''),
  file('odd/sizes/empty-too', ''),
  ...[1, 511, 512, 513, 4095, 4096, 4097, 65_536, 1_048_577].map((size) =>
    file(`odd/sizes/${size}`, noise(size, size)),
  ),
  file('odd/sizes/twin-1', 'the same content'),
  file('odd/sizes/twin-2', 'the same content', { mode: 0o600 }),
  file('odd/sizes/zeros', new Uint8Array(1_048_576)),
  file('odd/sizes/zeros-inside', Buffer.concat([noise(5000), new Uint8Array(300_000), noise(5000)])),
  file('odd/sizes/zeros-at-end', Buffer.concat([noise(100), new Uint8Array(300_000)])),
  sparsePax('0.0', sparse('odd/sizes/sparse-0.0', 300_000)),
  sparsePax('0.1', sparse('odd/sizes/sparse-0.1', 201_728)),
  sparsePax('1.0', sparse('odd/sizes/sparse-1.0', 300_000)),
  sparsePax(
    '1.0',
    sparse('odd/sizes/sparse-1.0-odd-end', 300_003, [PIECES[0], { offset: 299_520, data: noise(483, 8) }]),
  ),
  sparsePax('1.0', sparse('odd/sizes/sparse-1.0-many', 60 * 8192, MANY)),
  sparsePax('1.0', sparse(`odd/sizes/sparse-long-${'s'.repeat(120)}`, 300_000)),
];

/** What umoci 0.4 refuses as unknown type flags, but GNU tar reads: for a tar of their own. */
export function umociRefuses(): Piece[] {
  return [
    globalHeader({ comment: '2f3bc9a3f7dd2d1a0d0d1c5a6c3e5c9fd1b6a111' }),
    folder('gnu'),
    file('gnu/contiguous', 'type 7', { type: '7' }),
    sparseOldGnu(sparse('gnu/few', 300_000)),
    sparseOldGnu(sparse('gnu/many', 60 * 8192, MANY)),
    sparseOldGnu(sparse('gnu/hole', 200_000, [])),
    sparseOldGnu(sparse(`gnu/${'long'.repeat(40)}`, 300_000)),
    globalHeader({ mtime: '1234567890', comment: 'for the entries that follow' }),
    file('gnu/time-from-global', 'x'),
    file('gnu/time-of-its-own', 'x', { pax: { mtime: '1500000000.25' } }),
  ];
}

const headers: Piece[] = [
  folder('odd/headers'),
  file('odd/headers/v7', 'no magic', { form: 'v7' }),
  file('odd/headers/nul-type', 'type NUL', { type: '\0', form: 'v7' }),
  { name: 'odd/headers/slash-makes-a-folder/', type: '\0', mode: 0o755, mtime: TIME, form: 'v7' },
  file('odd/headers/gnu', 'GNU magic', { form: 'gnu' }),
  file('odd/headers/base256', 'x', {
    patch: (header) => {
      header.set([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 124);
      header.set([0x80, 0, 0, 0, 0, 0, 0, 0, 0x5f, 0x5e, 0x10, 0], 136);
    },
  }),
  file('odd/headers/spaces', 'x', { patch: (header) => header.set(Buffer.from('   644 \0      0\0      0\0'), 100) }),
  file('./odd/headers/dot-slash', 'x'),
  file('odd/headers//double///slash', 'x'),
  file('odd/headers/./dot-inside', 'x'),
  file('odd/headers/unknown-record', 'x', { pax: { 'VENDOR.key': 'v', comment: 'c' } }),
  file('odd/headers/pax-size', 'size in PAX', { pax: { size: '11' }, patch: (header) => header.fill(0x30, 124, 135) }),
];

const duplicates: Piece[] = [
  folder('odd/twice'),
  file('odd/twice/file', 'first'),
  file('odd/twice/file', 'last wins', { mode: 0o600 }),
  folder('odd/twice/folder', { mode: 0o700 }),
  file('odd/twice/folder/kept', 'x'),
  folder('odd/twice/folder', { mode: 0o711, uid: 7 }),
  file('odd/twice/file-then-folder', 'x'),
  folder('odd/twice/file-then-folder'),
  file('odd/twice/file-then-folder/inside', 'x'),
  folder('odd/twice/folder-then-file'),
  file('odd/twice/folder-then-file/gone', 'x'),
  file('odd/twice/folder-then-file', 'now a file'),
  symlink('odd/twice/link-then-file', 'file'),
  file('odd/twice/link-then-file', 'now a file'),
  file('odd/twice/group-1', 'had two names'),
  hardlink('odd/twice/group-2', 'odd/twice/group-1'),
  file('odd/twice/group-1', 'stands alone again'),
];

/** What the upper layer will delete, hide and replace. */
const victims: Piece[] = [
  folder('odd/v'),
  file('odd/v/deleted', 'x'),
  folder('odd/v/deleted-folder'),
  file('odd/v/deleted-folder/inside', 'x'),
  file('odd/v/deleted-then-made', 'old'),
  folder('odd/v/folder-made-anew', { mode: 0o700 }),
  file('odd/v/folder-made-anew/old', 'x'),
  ...['opaque-first', 'opaque-last', 'opaque-implied', 'opaque-empty'].flatMap((name) => [
    folder(`odd/v/${name}`, { mode: 0o750, uid: 3 }),
    file(`odd/v/${name}/hidden`, 'x'),
    folder(`odd/v/${name}/hidden-folder`),
    file(`odd/v/${name}/hidden-folder/x`, 'x'),
    file(`odd/v/${name}/replaced`, 'old'),
  ]),
  file('odd/v/file-to-folder', 'x'),
  folder('odd/v/folder-to-file'),
  file('odd/v/folder-to-file/x', 'x'),
  folder('odd/v/folder-to-link'),
  file('odd/v/folder-to-link/x', 'x'),
  symlink('odd/v/link-to-folder', 'folder-to-file'),
  symlink('odd/v/link-to-file', 'deleted'),
  file('odd/v/file-to-fifo', 'x'),
  folder('odd/v/attributes', { mode: 0o755, xattrs: { 'user.old': 'goes away', 'user.kept': 'old' } }),
  file('odd/v/attributes/stays', 'x'),
  folder('odd/v/implied', { mode: 0o2710, uid: 5, gid: 6, mtime: 1_500_000_000, xattrs: { 'user.kept': 'yes' } }),
  file('odd/v/implied/stays', 'x'),
  file('odd/v/pair-1', 'one of two names goes'),
  hardlink('odd/v/pair-2', 'odd/v/pair-1'),
  file('odd/v/trio-1', 'one of three names is replaced'),
  hardlink('odd/v/trio-2', 'odd/v/trio-1'),
  hardlink('odd/v/trio-3', 'odd/v/trio-1'),
  file('odd/v/link-target', 'linked from the layer above'),
  symlink('odd/v/symlink-target', 'link-target'),
  file('odd/v/link-target-replaced', 'old content stays under the new name'),
  file('odd/v/grown', 'short'),
];

/** The lower odd layer, complete. */
export function oddLower(): Piece[] {
  const all = [modes, times, names, long, links, devices, xattrs, sizes, headers, duplicates, victims];
  return [
    { name: './', mode: 0o755, mtime: TIME },
    folder('odd', { mode: 0o1777, mtime: 1_400_000_000 }),
    ...all.flat(),
  ];
}

export { file, folder, hardlink, symlink, TIME, type Piece };
