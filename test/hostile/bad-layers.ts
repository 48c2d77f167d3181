/** Layer tars that must be refused, each with what its error must say. */
import { oddLower } from '../images/odd-lower.js';
import { sparsePax } from '../images/sparse.js';
import { paxRecord, putChecksum, tarEntry, tarOf, type TarEntry } from '../images/tar.js';

export interface BadLayer {
  what: string;
  tar: () => Uint8Array;
  /** The error's text must name what is wrong. */
  says: RegExp;
}

const file = (name: string, more: Partial<TarEntry> = {}): TarEntry => ({ name, data: 'x', ...more });
const link = (name: string, linkname: string, type = '2'): TarEntry => ({ name, linkname, type });
const one = (what: string, says: RegExp, ...pieces: (TarEntry | Uint8Array | Uint8Array[])[]): BadLayer => ({
  what,
  says,
  tar: () => tarOf(...pieces),
});

/** A header whose size field holds these 12 bytes. */
const sized = (bytes: number[] | string): TarEntry => ({
  name: 'victim',
  patch: (header) => header.set(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes), 124),
});

/** A PAX header with a body of these bytes, then an ordinary entry. */
const withPax = (body: Uint8Array): Uint8Array[] => [
  ...tarEntry({ name: 'PaxHeaders/x', type: 'x', data: body }),
  ...tarEntry(file('victim')),
];

export const BAD_LAYERS: BadLayer[] = [
  one('a name that leaves by ..', /\.\.\/escape/, file('../escape')),
  one('a name with .. inside', /a\/\.\.\/\.\.\/escape/, file('a/../../escape')),
  one('a name that ends in ..', /\.\./, { name: 'a/..', type: '5' }),
  one('an absolute name', /\/etc\/absolute/, file('/etc/absolute')),
  one('a name with a NUL from PAX', /NUL|invalid|name/i, { ...file('x'), pax: { path: 'a\0b' } }),
  one('writing through a symbolic link', /out\/file|symbolic link/, link('out', '/tmp'), file('out/file')),
  one('writing through a symbolic link to ..', /up\/file|symbolic link/, link('up', '..'), file('up/file')),
  one('writing through a file', /file\/below/, file('file'), file('file/below')),
  one('a hardlink to an absolute path', /\/etc\/passwd/, link('passwd', '/etc/passwd', '1')),
  one('a hardlink that leaves by ..', /\.\.\/\.\.\/etc\/passwd/, link('passwd', '../../etc/passwd', '1')),
  one('a hardlink to nothing', /no\/such\/file/, link('here', 'no/such/file', '1')),
  one('a hardlink to a folder', /folder/, { name: 'folder/' }, link('here', 'folder', '1')),
  one('a hardlink to itself', /itself|self|link/, link('self', 'self', '1')),
  one('a hardlink through a symbolic link', /out|symbolic link/, link('out', '/etc'), link('here', 'out/passwd', '1')),
  one('a whiteout of .', /\.wh\./, file('folder/.wh..')),
  one('a whiteout of ..', /\.wh\./, file('folder/.wh...')),
  one('a whiteout of nothing', /\.wh\./, file('folder/.wh.')),
  one('a name of 256 bytes', /255|too long/i, file('n'.repeat(256))),
  one('a path of 100,000 folders', /4096|too long/i, file('d/'.repeat(100_000) + 'file')),
  one('a path of 100,000 folders in a GNU header', /4096|too long/i, file('d/'.repeat(100_000) + 'f', { form: 'gnu' })),
  one('a link target of 100,000 bytes', /409[56]|too long|target/i, link('link', 't'.repeat(100_000))),
  one(
    'a negative size',
    /size|negative/i,
    sized([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
  ),
  one(
    'a size of 2^63-1',
    /size|large|ends|limit|truncated/i,
    sized([0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
  ),
  one(
    'a size past 2^63',
    /size|large|limit/i,
    sized([0x80, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
  ),
  one('a size that is no number', /size/i, sized('zzzzzzzzzzz\0')),
  one('a size past the end', /end|truncated|short/i, { name: 'victim', data: 'x', size: 1_000_000 }),
  one('a wrong header checksum', /checksum/i, {
    ...file('victim'),
    keepChecksum: true,
    patch: (header) => {
      putChecksum(header);
      header[0] = 0x56;
    },
  }),
  { what: 'a tar that ends in a header', says: /end|truncated|short/i, tar: () => tarOf(file('a')).subarray(0, 300) },
  {
    what: 'a tar that ends in data',
    says: /end|truncated|short/i,
    tar: () => tarOf(file('a', { data: 'y'.repeat(5000) })).subarray(0, 3000),
  },
  { what: 'bytes that are no tar', says: /tar|checksum|header/i, tar: () => Buffer.alloc(4096, 'this is no tar. ') },
  one('a PAX record with a wrong length', /pax/i, withPax(Buffer.from('999 path=x\n'))),
  one('a PAX record with no length', /pax/i, withPax(Buffer.from('path=x\n'))),
  one('a PAX record with no newline', /pax/i, withPax(Buffer.from('10 path=xx'))),
  one('a PAX record with no equals sign', /pax/i, withPax(Buffer.from('7 path\n'))),
  one('a PAX header of 1 GiB', /pax|large|limit|size/i, { name: 'p', type: 'x', size: 2 ** 30 }),
  one('a GNU long name of 1 GiB', /long|large|limit|size/i, { name: 'p', type: 'L', size: 2 ** 30 }),
  one('a PAX size that is negative', /size/i, withPax(paxRecord('size', '-1'))),
  one('a PAX size past 2^64', /size|large/i, withPax(paxRecord('size', '99999999999999999999999'))),
  one('a PAX size that is no number', /size/i, withPax(paxRecord('size', '0x10'))),
  one(
    'a sparse map past the file',
    /sparse/i,
    sparsePax('1.0', { name: 'victim', realSize: 100, pieces: [{ offset: 4096, data: Buffer.alloc(10, 1) }] }),
  ),
  one(
    'a sparse map that runs backwards',
    /sparse/i,
    sparsePax('0.1', {
      name: 'victim',
      realSize: 9000,
      pieces: [
        { offset: 4096, data: Buffer.alloc(10, 1) },
        { offset: 0, data: Buffer.alloc(10, 1) },
      ],
    }),
  ),
  one(
    'a sparse map of words',
    /sparse/i,
    tarEntry({
      name: 'v',
      data: 'x',
      pax: { 'GNU.sparse.name': 'v', 'GNU.sparse.size': '10', 'GNU.sparse.numblocks': '1', 'GNU.sparse.map': 'a,b' },
    }),
  ),
  one(
    'a sparse map with too few numbers',
    /sparse/i,
    tarEntry({
      name: 'v',
      data: 'x',
      pax: { 'GNU.sparse.name': 'v', 'GNU.sparse.size': '10', 'GNU.sparse.numblocks': '9', 'GNU.sparse.map': '0,1' },
    }),
  ),
  one(
    'a sparse file of 2^63 bytes',
    /sparse|size|large|limit/i,
    sparsePax('1.0', { name: 'v', realSize: 2 ** 63, pieces: [] }),
  ),
  one(
    'a file named by its sparse record to leave',
    /\.\.\/escape/,
    tarEntry({
      name: 'v',
      data: 'x',
      pax: {
        'GNU.sparse.name': '../escape',
        'GNU.sparse.size': '1',
        'GNU.sparse.numblocks': '1',
        'GNU.sparse.map': '0,1',
      },
    }),
  ),
  one(
    'a sparse file of 4 PiB',
    /sparse|size|large|limit|holes/i,
    sparsePax('1.0', { name: 'v', realSize: 2 ** 52, pieces: [] }),
  ),
  one('a device number past 12 and 20 bits', /device|major|minor/i, {
    name: 'v',
    type: '3',
    major: 5000,
    minor: 2_000_000,
  }),
  one('an unknown type', /type/i, file('v', { type: 'Q', data: '' })),
  one('an xattr with an empty name', /xattr/i, tarEntry({ name: 'v', pax: { 'SCHILY.xattr.': 'x' } })),
  one('an xattr name of 300 bytes', /xattr/i, tarEntry({ name: 'v', xattrs: { [`user.${'n'.repeat(300)}`]: 'x' } })),
  one('an xattr value of 100,000 bytes', /xattr/i, tarEntry({ name: 'v', xattrs: { 'user.v': 'x'.repeat(100_000) } })),
  one('the root made a file', /root/i, { name: '.', type: '0', form: 'ustar' }),
  one('a hardlink in place of the root', /root|link/i, link('./', 'x', '1')),
  // A good layer that goes wrong only at its end: everything before it must disappear again.
  {
    what: 'a long good layer with one bad entry last',
    says: /\.\.\/late/,
    tar: () => tarOf(...oddLower(), file('../late')),
  },
];
