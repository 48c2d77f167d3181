/**
 * A folder as a layer tar. The same folder always gives the same bytes: names in byte order, no access times, owners as
 * numbers. Hardlinks stay links, sparse files stay sparse (PAX sparse format 1.0), devices and xattrs are kept;
 * sockets, and names that mean a removal in a layer, are left out with a note.
 */
import { lstatSync, readdirSync, readlinkSync, type BigIntStats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { constants } from 'node:fs';
import { getXattr, listXattrs, seekData, seekHole } from '@layerfs/linux';
import { latin1, printable } from '../../core/bytes.js';
import { LayerfsError } from '../../core/error.js';
import { checkAborted, isErrno } from '../errors.js';
import { padding, TAR_END, tarHeader, type TarHeaderFields } from './tar-header.js';

interface FolderOptions {
  readonly signal?: AbortSignal;
  readonly onNote: (note: string) => void;
}

const CHUNK = 256 * 1024;

/** The tar of a folder's content; the folder itself is the root entry. @throws LayerfsError naming the path */
export async function* folderTar(root: string, options: FolderOptions): AsyncGenerator<Uint8Array> {
  const links = new Map<string, string>();
  const top = Buffer.from(root);
  let pending: Buffer[] = [];
  let length = 0;
  for (const path of walk(top, options)) {
    checkAborted(options.signal);
    const file = path === '' ? top : Buffer.concat([top, SLASH, Buffer.from(path, 'latin1')]);
    for await (const piece of entry(file, path, links, options)) {
      // Small pieces are gathered: each step of a stream costs more than copying them.
      pending.push(piece);
      length += piece.length;
      if (length < CHUNK) continue;
      yield pending.length === 1 ? piece : Buffer.concat(pending);
      pending = [];
      length = 0;
    }
  }
  yield Buffer.concat([...pending, TAR_END]);
}

const SLASH = Buffer.from('/');

/** Paths below a folder as byte strings, parents first, in byte order; '' is the folder itself. */
function* walk(root: Buffer, { onNote }: FolderOptions): Generator<string> {
  yield '';
  const stack: string[] = names(root, '').toReversed();
  for (let path = stack.pop(); path !== undefined; path = stack.pop()) {
    if (path.startsWith('.wh.', path.lastIndexOf('/', path.length - 2) + 1)) {
      onNote(`${printable(path)} left out: in a layer such a name stands for a removal`);
      continue;
    }
    yield path.replace(/\/$/, '');
    if (path.endsWith('/')) for (const name of names(root, path).toReversed()) stack.push(name);
  }
}

// Names of folders end in a slash.
function names(root: Buffer, path: string): string[] {
  const folder = Buffer.concat([root, SLASH, Buffer.from(path, 'latin1')]);
  return readdirSync(folder, { withFileTypes: true, encoding: 'buffer' })
    .map((entry) => `${path}${latin1(entry.name as unknown as Uint8Array)}${entry.isDirectory() ? '/' : ''}`)
    .sort((a, b) => (a < b ? -1 : 1));
}

async function* entry(
  file: Buffer,
  path: string,
  links: Map<string, string>,
  options: FolderOptions,
): AsyncGenerator<Buffer> {
  const stats = lstatSync(file, { bigint: true });
  if (stats.isSocket()) {
    options.onNote(`socket ${printable(path)} left out: a socket has no meaning without its server`);
    return;
  }
  const name = path === '' ? './' : stats.isDirectory() ? `${path}/` : path;
  const common = {
    path: name,
    mode: Number(stats.mode) & 0o7777,
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    size: 0,
    mtimeSec: Number((stats.mtimeNs - (((stats.mtimeNs % BILLION) + BILLION) % BILLION)) / BILLION),
    mtimeNsec: Number(((stats.mtimeNs % BILLION) + BILLION) % BILLION),
  };
  const key = `${stats.dev}:${stats.ino}`;
  const first = stats.nlink > 1n && !stats.isDirectory() ? links.get(key) : undefined;
  if (first !== undefined) {
    yield tarHeader({ ...common, type: '1', linkname: first });
    return;
  }
  if (stats.nlink > 1n && !stats.isDirectory()) links.set(key, path);
  const pax = xattrsOf(file);
  if (stats.isFile()) yield* regular(file, { ...common, type: '0', pax }, stats);
  else if (stats.isDirectory()) yield tarHeader({ ...common, type: '5', pax });
  else if (stats.isSymbolicLink()) {
    const linkname = latin1(readlinkSync(file, 'buffer'));
    yield tarHeader({ ...common, type: '2', linkname, pax });
  } else if (stats.isFIFO()) yield tarHeader({ ...common, type: '6', pax });
  else {
    const [devmajor, devminor] = device(stats.rdev);
    yield tarHeader({ ...common, type: stats.isBlockDevice() ? '4' : '3', devmajor, devminor, pax });
  }
}

const BILLION = 1_000_000_000n;

async function* regular(path: Buffer, header: TarHeaderFields, stats: BigIntStats): AsyncGenerator<Buffer> {
  const size = Number(stats.size);
  if (size === 0) {
    yield tarHeader(header);
    return;
  }
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const ranges = stats.blocks * 512n < stats.size ? dataRanges(file.fd, size) : [[0, size] as const];
    if (ranges.length === 1 && ranges[0][1] === size) {
      yield tarHeader({ ...header, size });
      yield* read(file, path, 0, size);
      yield padding(size);
      return;
    }
    const map = Buffer.from(`${ranges.length}\n${ranges.map(([at, length]) => `${at}\n${length}\n`).join('')}`);
    const mapSize = map.length + padding(map.length).length;
    const dataSize = mapSize + ranges.reduce((sum, [, length]) => sum + length, 0);
    const slash = header.path.lastIndexOf('/') + 1;
    const sparse = [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.name', header.path],
      ['GNU.sparse.realsize', String(size)],
    ] as const;
    yield tarHeader({
      ...header,
      path: `${header.path.slice(0, slash)}GNUSparseFile.0/${header.path.slice(slash)}`,
      size: dataSize,
      pax: [...(header.pax ?? []), ...sparse],
    });
    yield Buffer.concat([map, padding(map.length)]);
    for (const [at, length] of ranges) yield* read(file, path, at, length);
    yield padding(dataSize);
  } finally {
    await file.close();
  }
}

/** Where data lies in a file with holes; at most as many ranges as a reader accepts. */
function dataRanges(fd: number, size: number): (readonly [offset: number, length: number])[] {
  const ranges: (readonly [number, number])[] = [];
  for (let at = 0; at < size;) {
    const start = seekData(fd, at);
    if (start === undefined || start >= size) break;
    const end = Math.min(seekHole(fd, start) ?? size, size);
    ranges.push([start, end - start]);
    if (ranges.length > 10_000) return [[0, size]];
    at = end;
  }
  // GNU tar marks the size of a file that ends in a hole by an empty range at its end.
  if (ranges.at(-1)?.[0] === undefined || ranges[ranges.length - 1][0] + ranges[ranges.length - 1][1] < size) {
    ranges.push([size, 0]);
  }
  return ranges;
}

async function* read(file: FileHandle, path: Buffer, at: number, length: number): AsyncGenerator<Buffer> {
  for (let done = 0; done < length;) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, length - done));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at + done);
    if (bytesRead === 0) {
      throw new LayerfsError('unavailable', `${path.toString()} became shorter while it was read`);
    }
    done += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

function xattrsOf(path: Buffer): (readonly [string, string])[] {
  try {
    return listXattrs(path)
      .sort()
      .flatMap((name) => {
        const value = getXattr(path, name);
        return value === undefined ? [] : [[`SCHILY.xattr.${name}`, latin1(value)] as const];
      });
  } catch (error) {
    if (isErrno(error, 'EOPNOTSUPP', 'ENOTSUP')) return [];
    throw error;
  }
}

// makedev(3): 12 + 20 bits of major, 8 + 24 of minor.
function device(rdev: bigint): [major: number, minor: number] {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn & 0xffffffffn);
  return [Number(major), Number(minor)];
}
