/** Finds out by content what an import was given, and lists its images. */
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { addAbortSignal, Readable } from 'node:stream';
import { LayerfsError } from '../../core/error.js';
import { BLOCK, isZeroBlock, parseHeader } from '../../core/tar/header.js';
import { checkAborted, isErrno } from '../errors.js';
import type { Compression } from '../inflate/compression.js';
import { Inflated } from '../inflate/inflate.js';
import type { InflateThreads } from '../inflate/thread.js';
import { Archive, looksLikeArchive } from './archive.js';
import { archiveFiles, folderFiles } from './blobs.js';
import { readDockerArchive } from './docker.js';
import { folderTar } from './folder.js';
import { PeekedStream, unpackHead } from './head.js';
import { readLayout } from './layout.js';
import { nameFor } from './naming.js';
import type { Selection, Source, SourceFormat, SourceImage } from './source.js';

/** What may be imported: a path, or a stream of bytes. */
export type ImportInput = string | AsyncIterable<Uint8Array>;

interface OpenOptions extends Selection {
  readonly threads: InflateThreads;
  readonly signal?: AbortSignal;
}

/**
 * Opens a source.
 * @param scratch an existing folder for what must lie on disk to be read
 * @throws LayerfsError not-found, invalid-argument (not an image), unimplemented (compression), corrupt
 */
export async function openSource(input: ImportInput, scratch: string, options: OpenOptions): Promise<Source> {
  const notes: string[] = [];
  if (typeof input !== 'string') return fromStream(input, 'the input', undefined, scratch, options, notes);
  const { path, pick } = await splitPick(input);
  const picked = pick === undefined ? options : { ...options, pick };
  const stats = await stat(path);
  const base = basename(resolve(path));
  if (stats.isDirectory()) return fromFolder(path, base, picked, notes);
  if (!stats.isFile()) {
    const stream = createReadStream(path, { highWaterMark: 512 * 1024 });
    return fromStream(stream, path, undefined, scratch, picked, notes);
  }
  if (stats.size === 0) throw new LayerfsError('invalid-argument', `${path} is empty: not an image`);
  return fromFile(path, base, scratch, picked, notes);
}

/** `PATH:TAG` names an image of several, unless a file has that very name. */
async function splitPick(input: string): Promise<{ path: string; pick?: string }> {
  if (await exists(input)) return { path: input };
  // The tag may hold colons and slashes itself: the shortest path that exists wins, as a path rarely has a colon.
  for (let colon = input.indexOf(':'); colon > 0; colon = input.indexOf(':', colon + 1)) {
    const path = input.slice(0, colon);
    if (colon + 1 < input.length && (await exists(path))) return { path, pick: input.slice(colon + 1) };
  }
  throw new LayerfsError('not-found', `no such file or folder: ${input}`);
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ENAMETOOLONG')) return false;
    throw error;
  }
}

async function fromFolder(path: string, base: string, options: OpenOptions, notes: string[]): Promise<Source> {
  const layout =
    (await exists(join(path, 'oci-layout'))) ||
    ((await exists(join(path, 'index.json'))) && (await exists(join(path, 'blobs'))));
  if (layout) {
    const images = await readLayout(folderFiles(path), options, base, notes);
    return { format: 'oci-layout', images, notes };
  }
  refusePick(options, path);
  const image: SourceImage = {
    names: ownName(options, base),
    layers: [
      {
        what: `folder ${path}`,
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
        open: () => folderTar(path, { ...options, onNote: (note) => notes.push(note) }),
      },
    ],
    createdBy: `layerfs import of folder ${base}`,
  };
  return { format: 'folder', images: [image], notes };
}

async function fromFile(
  path: string,
  base: string,
  scratch: string,
  options: OpenOptions,
  notes: string[],
): Promise<Source> {
  const file = await open(path, 'r');
  try {
    const raw = Buffer.alloc(64 * 1024);
    const { bytesRead } = await file.read(raw, 0, raw.length, 0);
    const whole = bytesRead < raw.length;
    const { compression, bytes } = unpackHead(raw.subarray(0, bytesRead), whole);
    checkTar(bytes, path);
    if (looksLikeArchive(bytes)) {
      const read = (): AsyncIterable<Uint8Array> => createReadStream(path, { highWaterMark: 512 * 1024 });
      const tar = compression === 'none' ? path : await spool(read(), compression, path, scratch, options);
      const source = await fromArchive(tar, base, options, notes);
      if (source !== undefined) return source;
    }
  } finally {
    await file.close();
  }
  refusePick(options, path);
  const open_ = (): AsyncIterable<Uint8Array> => createReadStream(path, { highWaterMark: 512 * 1024 });
  return { format: 'rootfs-tar', images: [rootImage(path, options, base, open_, path)], notes };
}

async function fromStream(
  input: AsyncIterable<Uint8Array>,
  what: string,
  base: string | undefined,
  scratch: string,
  options: OpenOptions,
  notes: string[],
): Promise<Source> {
  // A stream that waits, such as a terminal's or a pipe's, would not notice otherwise.
  if (options.signal !== undefined && input instanceof Readable) addAbortSignal(options.signal, input);
  const stream = await PeekedStream.of(input);
  if (stream.head.length === 0) throw new LayerfsError('invalid-argument', `${what} is empty: not an image`);
  const { compression, bytes } = unpackHead(stream.head, stream.whole);
  checkTar(bytes, what);
  if (looksLikeArchive(bytes)) {
    // Its table of contents may come last, and what it names before: it has to lie on disk.
    const tar = await spool(stream, compression, what, scratch, options);
    const source = await fromArchive(tar, base, options, notes);
    if (source !== undefined) return source;
    refusePick(options, what);
    const read = (): AsyncIterable<Uint8Array> => createReadStream(tar, { highWaterMark: 512 * 1024 });
    return { format: 'rootfs-tar', images: [rootImage(what, options, base, read)], notes };
  }
  refusePick(options, what);
  return { format: 'rootfs-tar', images: [rootImage(what, options, base, () => stream)], notes };
}

async function fromArchive(
  path: string,
  base: string | undefined,
  options: OpenOptions,
  notes: string[],
): Promise<Source | undefined> {
  const file = await open(path, 'r');
  let archive: Archive;
  try {
    archive = await Archive.read(path, file);
  } finally {
    await file.close();
  }
  const read = async (format: SourceFormat, images: Promise<SourceImage[]>): Promise<Source> => ({
    format,
    images: await images,
    notes,
  });
  // Newer `docker save` archives are both; the layout keeps the manifests' digests.
  if (archive.has('index.json') && archive.has('oci-layout')) {
    return read('oci-archive', readLayout(archiveFiles(archive), options, base, notes));
  }
  if (archive.has('manifest.json')) return read('docker-archive', readDockerArchive(archive, options, base, notes));
  if (archive.has('oci-layout')) {
    throw new LayerfsError('not-found', 'an OCI archive without index.json: nothing tells which images it holds');
  }
  return undefined;
}

function rootImage(
  path: string,
  options: OpenOptions,
  base: string | undefined,
  openBlob: () => AsyncIterable<Uint8Array>,
  file?: string,
): SourceImage {
  return {
    names: ownName(options, base),
    layers: [{ what: `tar ${path}`, ...(file === undefined ? {} : { file }), open: openBlob }],
    createdBy: base === undefined ? 'layerfs import' : `layerfs import of ${base}`,
  };
}

function ownName(options: Selection, base: string | undefined): string[] {
  const name = options.name ?? nameFor(undefined, base);
  if (name !== undefined) return [name];
  throw new LayerfsError('invalid-argument', 'nothing tells what to call this image: give it a name with --name');
}

function refusePick({ pick }: Selection, what: string): void {
  if (pick === undefined) return;
  throw new LayerfsError('invalid-argument', `${what} holds one image without tags: leave out ":${pick}"`);
}

/** @throws LayerfsError invalid-argument unless the bytes begin with a tar header or with the end mark of an empty tar */
function checkTar(head: Uint8Array, what: string): void {
  if (head.length >= BLOCK && isZeroBlock(head)) return;
  try {
    if (head.length >= BLOCK) {
      parseHeader(head.subarray(0, BLOCK), 0);
      return;
    }
  } catch (error) {
    if (!(error instanceof LayerfsError)) throw error;
    throw notAnImage(what, error);
  }
  throw notAnImage(what);
}

function notAnImage(what: string, cause?: LayerfsError): LayerfsError {
  const why = cause === undefined ? '' : ` (${cause.message})`;
  return new LayerfsError(
    'invalid-argument',
    `${what} is not an image: neither an OCI layout, an image archive nor a tar of a root filesystem${why}`,
    { cause },
  );
}

async function spool(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  what: string,
  scratch: string,
  { signal, threads }: OpenOptions,
): Promise<string> {
  const path = join(scratch, 'spool');
  const file = await open(path, 'wx', 0o600);
  try {
    for await (const chunk of new Inflated(source, compression, what, threads)) {
      checkAborted(signal);
      for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
    }
  } finally {
    await file.close();
  }
  return path;
}
