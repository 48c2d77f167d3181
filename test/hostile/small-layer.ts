/** A layer of a few KiB with one of each kind of header and entry: what the mutator damages. */
import { NET_RAW } from '../images/odd-lower.js';
import { sparseOldGnu, sparsePax } from '../images/sparse.js';
import { globalHeader, tarOf, type TarEntry } from '../images/tar.js';

const PIECES = [
  { offset: 512, data: Buffer.alloc(512, 's') },
  { offset: 2048, data: Buffer.alloc(512, 't') },
];
const sparse = (name: string) => ({ name, realSize: 4096, pieces: PIECES });
const MANY = Array.from({ length: 30 }, (_, index) => ({ offset: index * 1024, data: Buffer.alloc(512, index + 1) }));

/** `alone`: without the link to a lower path, which would be refused where nothing lies below. */
export function smallLayer(alone = false): Buffer {
  const entries: (TarEntry | Uint8Array[])[] = [
    { name: './', mode: 0o755 },
    globalHeader({ comment: 'global' }),
    { name: 'dir/', mode: 0o750, uid: 1, gid: 2, mtime: 1000, xattrs: { 'user.dir': 'd' } },
    { name: 'dir/file', data: 'content of a file\n', mode: 0o4755 },
    { name: 'dir/empty' },
    { name: 'dir/hard', type: '1', linkname: 'dir/file' },
    { name: 'dir/link', type: '2', linkname: '../target' },
    ...(alone ? [] : [{ name: 'dir/below', type: '1', linkname: 'usr/lower' }]),
    { name: `dir/${'p'.repeat(150)}`, data: 'pax name', mtime: '1.5', xattrs: { 'security.capability': NET_RAW } },
    { name: `dir/${'g'.repeat(150)}`, data: 'gnu name', form: 'gnu' },
    { name: `dir/gl`, type: '2', linkname: 'g'.repeat(150), form: 'gnu' },
    { name: 'null', type: '3', major: 1, minor: 3 },
    { name: 'block', type: '4', major: 8, minor: 1 },
    { name: 'fifo', type: '6' },
    { name: 'gone/.wh.this' },
    { name: 'opaque/.wh..wh..opq' },
    { name: 'opaque/new', data: Buffer.alloc(700, 'n') },
    sparseOldGnu(sparse('old')),
    sparseOldGnu({ name: 'old-many', realSize: 30 * 1024, pieces: MANY }),
    sparsePax('0.0', sparse('s00')),
    sparsePax('0.1', sparse('s01')),
    sparsePax('1.0', sparse('s10')),
    { name: 'deep/er/and/deeper/still/file', data: 'x' },
    { name: 'v7', data: 'v7', form: 'v7' },
    { name: 'twice', data: 'first' },
    { name: 'twice', data: 'second' },
  ];
  return tarOf(...entries);
}

/** What stands below it: the target of its link to a lower path. */
export function smallBase(): Buffer {
  return tarOf(
    { name: 'usr/', mode: 0o755 },
    { name: 'usr/lower', data: 'lower\n' },
    { name: 'gone/' },
    { name: 'gone/this', data: 'x' },
  );
}
