/**
 * The differences of a merged view as a layer's tar (OCI image spec, layer.md). The same differences always give the same
 * bytes. The folders on the way to a change are in it, too: not every program that unpacks keeps their times otherwise.
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { LayerfsError } from '../../core/error.js';
import { latin1, printable } from '../../core/bytes.js';
import type { Content, LayerEntry } from '../../core/overlay/entry.js';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT } from '../../core/tree/format.js';
import { OPAQUE_MARKER, WHITEOUT_PREFIX } from '../../core/overlay/format.js';
import { joinPath } from '../../core/overlay/upper.js';
import type { Xattr } from '../../core/tree/xattr.js';
import { checkAborted, isErrno } from '../errors.js';
import type { StorePaths } from '../paths.js';
import { padding, TAR_END, tarHeader, type TarHeaderFields } from '../source/tar-header.js';
import { readAt } from './read-at.js';

const CHUNK = 256 * 1024;

type FileEntry = Extract<LayerEntry, { kind: 'entry' }>;

/** The tar's bytes. `entries` are taken one by one: the next when the content of the last is read. */
export async function* layerTar(
  entries: Iterable<LayerEntry>,
  paths: StorePaths,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let pending: Uint8Array[] = [];
  let length = 0;
  for (const entry of withFolders(entries)) {
    checkAborted(signal);
    for await (const piece of pieces(entry, paths)) {
      // Small pieces are gathered: each step of a stream costs more than copying them.
      pending.push(piece);
      length += piece.length;
      if (length < CHUNK) continue;
      yield Buffer.concat(pending);
      pending = [];
      length = 0;
    }
  }
  yield Buffer.concat([...pending, TAR_END]);
}

/** Leaves out what is the same, except folders with something in them that is not. */
function* withFolders(entries: Iterable<LayerEntry>): Generator<LayerEntry> {
  let folders: FileEntry[] = [];
  for (const entry of entries) {
    folders = folders.filter(({ path }) => path === '' || entry.path === path || entry.path.startsWith(`${path}/`));
    if (isSameFolder(entry)) {
      folders.push(entry);
      continue;
    }
    if (entry.kind === 'deleted' && entry.covered) continue;
    yield* folders;
    folders = [];
    yield entry;
  }
}

/** A folder in which there may be changes, but which is the same itself. */
export function isSameFolder(entry: LayerEntry): entry is FileEntry {
  return entry.kind === 'entry' && entry.change === undefined && (entry.attributes.mode & S_IFMT) === S_IFDIR;
}

async function* pieces(entry: LayerEntry, paths: StorePaths): AsyncGenerator<Uint8Array> {
  if (entry.kind === 'opaque') {
    yield marker(joinPath(entry.path, OPAQUE_MARKER));
    return;
  }
  if (entry.kind === 'deleted') {
    const slash = entry.path.lastIndexOf('/') + 1;
    yield marker(`${entry.path.slice(0, slash)}${WHITEOUT_PREFIX}${entry.path.slice(slash)}`);
    return;
  }
  const header = headerOf(entry);
  if (entry.content === undefined || entry.link !== undefined) {
    yield tarHeader(header);
    return;
  }
  const { size } = entry.attributes;
  yield tarHeader({ ...header, size });
  yield* contentOf(entry.content, size, entry.path, paths);
  yield padding(size);
}

function marker(path: string): Buffer {
  return tarHeader({ path, type: '0', mode: 0, uid: 0, gid: 0, size: 0, mtimeSec: 0 });
}

function headerOf({ path, attributes, link }: FileEntry): TarHeaderFields {
  const { mode, rdev, target, xattrs } = attributes;
  const common = {
    path,
    mode: mode & 0o7777,
    uid: attributes.uid,
    gid: attributes.gid,
    size: 0,
    mtimeSec: attributes.mtimeSec,
    mtimeNsec: attributes.mtimeNsec,
  };
  if (link !== undefined) return { ...common, type: '1', linkname: link };
  const pax = xattrs.map(paxXattr);
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return { ...common, path: path === '' ? './' : `${path}/`, type: '5', pax };
    case S_IFLNK:
      return { ...common, type: '2', linkname: target ?? '', pax };
    case S_IFIFO:
      return { ...common, type: '6', pax };
    case S_IFCHR:
    case S_IFBLK: {
      const type = (mode & S_IFMT) === S_IFCHR ? '3' : '4';
      return {
        ...common,
        type,
        devmajor: (rdev >>> 8) & 0xfff,
        devminor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00),
        pax,
      };
    }
    default:
      return { ...common, type: '0', pax };
  }
}

/** As GNU tar and Go write them; a name with `=`, which would end it there, in libarchive's spelling. */
function paxXattr([name, value]: Xattr): readonly [string, string] {
  if (!name.includes('=')) return [`SCHILY.xattr.${name}`, latin1(value)];
  const quoted = name.replace(/[^A-Za-z0-9._-]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return [`LIBARCHIVE.xattr.${quoted}`, Buffer.from(value).toString('base64').replace(/=+$/, '')];
}

async function* contentOf(content: Content, size: number, path: string, paths: StorePaths): AsyncGenerator<Uint8Array> {
  if (content.kind === 'upper') {
    const fd = content.folder.openFile(content.name);
    try {
      yield* ranges(fd, size, () => {
        throw new LayerfsError('unavailable', `/${printable(path)} became shorter while it was read`);
      });
    } finally {
      closeSync(fd);
    }
    return;
  }
  const fd = openObject(paths.object(content.hex), path);
  const damaged = (): never => {
    throw new LayerfsError('corrupt', `the store is damaged: object ${content.hex} does not match its digest`);
  };
  try {
    const hash = createHash('sha256');
    for await (const piece of ranges(fd, size, damaged)) {
      hash.update(piece);
      yield piece;
    }
    // Or what is damaged would get a name of its own.
    if (hash.digest('hex') !== content.hex) damaged();
  } finally {
    closeSync(fd);
  }
}

function openObject(object: string, path: string): number {
  try {
    return openSync(object, 'r');
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    const message = `the store is damaged: object ${object}, the content of /${printable(path)}, is missing`;
    throw new LayerfsError('corrupt', message, { cause: error });
  }
}

async function* ranges(fd: number, size: number, tooShort: () => never): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < size;) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, size - done));
    // Another thread is worth its while for large files only.
    const n = size > CHUNK ? await readAt(fd, buffer, done) : readSync(fd, buffer, 0, buffer.length, done);
    if (n === 0) tooShort();
    done += n;
    yield buffer.subarray(0, n);
  }
}
