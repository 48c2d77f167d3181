/** Export: an image as an OCI layout, in a folder or in a tar, with the digests that it came with. */
import { createHash } from 'node:crypto';
import { once, type EventEmitter } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack, type Pack } from 'tar-stream';
import { digestFromBytes, type Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { MEDIA_TYPE } from '../../core/oci/media-types.js';
import type { StoreContext } from '../context.js';
import { checkAborted, isErrno } from '../errors.js';
import { hasBlob, readStoredBlob } from '../image/info.js';
import type { FoundImage } from '../image/lookup.js';
import type { ImageLayerRecord, ImageRecord } from '../meta.js';
import { blobPath, sha256 } from '../source/blobs.js';
import { rebuildTar } from './rebuild.js';

/** Options of an export. */
export interface ExportOptions {
  readonly onProgress?: (event: ExportProgress) => void;
  readonly signal?: AbortSignal;
}

/** What an export tells while it runs: bytes of a layer's blob. */
export interface ExportProgress {
  readonly kind: 'layer';
  /** 1-based. */
  readonly index: number;
  readonly of: number;
  readonly digest: Digest;
  readonly done: number;
  readonly total: number;
  readonly state: 'writing' | 'done';
}

/** What an export wrote. */
export interface ExportResult {
  /** Of the manifest. */
  readonly digest: Digest;
  /** Bytes of all blobs. */
  readonly bytes: number;
  /** Compressed blobs were dropped: there is a new manifest, with uncompressed layers of the same diffIDs. */
  readonly rebuilt: boolean;
}

export interface File {
  readonly path: string;
  readonly size: number;
  readonly content: () => AsyncIterable<Uint8Array>;
}

/** Annotation of a manifest that had to be made anew: the digest of the one that it stands for. */
export const REBUILT_FROM = 'io.layerfs.image.rebuilt-from';

/**
 * Writes an image. `out`: a folder that is new or empty, a file whose name ends in `.tar`, or a stream for a tar.
 * @throws LayerfsError already-exists; corrupt when the store's own data is damaged; then nothing is left at `out`
 */
export async function exportImage(
  context: StoreContext,
  found: FoundImage,
  out: string | Writable,
  options: ExportOptions,
): Promise<ExportResult> {
  const { files, result } = layoutOf(context, found, options);
  if (typeof out !== 'string') await writeTar(files, out);
  else if (/\.tar$/i.test(out)) await toFile(files, out);
  else await toFolder(files, out, options.signal);
  return result;
}

/** The files of the layout. Every byte that they give is verified against its digest on the way. */
export function layoutOf(
  context: StoreContext,
  { name, record }: FoundImage,
  options: ExportOptions,
): { files: File[]; result: ExportResult; mediaType: string } {
  const sources = record.layers.map((layer) => layerSource(context, layer, options.signal));
  const rebuilt = sources.some(({ rebuilt }) => rebuilt);
  const config = readStoredBlob(context, record.config);
  const manifest = rebuilt ? newManifest(record, config.length, sources) : readStoredBlob(context, record.digest);
  const digest = rebuilt ? sha256(manifest) : record.digest;
  const mediaType = rebuilt ? MEDIA_TYPE.manifest : record.mediaType;
  const descriptor = {
    mediaType,
    digest,
    size: manifest.length,
    ...(name === undefined
      ? {}
      : {
          annotations: {
            'io.containerd.image.name': name,
            'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
          },
        }),
  };
  const index = json({ schemaVersion: 2, mediaType: MEDIA_TYPE.index, manifests: [descriptor] });
  const files = [
    memory('oci-layout', json({ imageLayoutVersion: '1.0.0' })),
    memory('index.json', index),
    memory(blobPath(digest), manifest),
    memory(blobPath(record.config), config),
  ];
  const written = new Set<string>(files.map(({ path }) => path));
  let bytes = manifest.length + config.length;
  for (const [i, source] of sources.entries()) {
    const path = blobPath(source.digest);
    if (written.has(path)) continue;
    written.add(path);
    bytes += source.size;
    const tell = (done: number, state: 'writing' | 'done'): void =>
      options.onProgress?.({
        kind: 'layer',
        index: i + 1,
        of: sources.length,
        digest: source.digest,
        done,
        total: source.size,
        state,
      });
    files.push({ path, size: source.size, content: () => verified(source, tell, options.signal) });
  }
  return { files, mediaType, result: { digest, bytes, rebuilt } };
}

interface LayerSource {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
  /** It is not what the manifest names. */
  readonly rebuilt: boolean;
  readonly open: () => AsyncIterable<Uint8Array>;
}

function layerSource(context: StoreContext, layer: ImageLayerRecord, signal: AbortSignal | undefined): LayerSource {
  const { digest, diffID, size, mediaType } = layer;
  if (digest !== diffID && hasBlob(context, digest)) {
    const path = context.paths.blob(digest);
    return {
      digest,
      size,
      mediaType,
      rebuilt: false,
      open: () => createReadStream(path, { highWaterMark: 512 * 1024 }),
    };
  }
  const known = context.meta.layer(diffID);
  if (known === undefined) throw new LayerfsError('corrupt', `the store is damaged: layer ${diffID} is not recorded`);
  const rebuilt = digest !== diffID;
  return {
    digest: diffID,
    size: known.size,
    mediaType: rebuilt ? MEDIA_TYPE.layer : mediaType,
    rebuilt,
    open: () => rebuildTar(context, diffID, signal),
  };
}

function newManifest(record: ImageRecord, configSize: number, layers: readonly LayerSource[]): Uint8Array {
  return json({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.manifest,
    config: { mediaType: MEDIA_TYPE.config, digest: record.config, size: configSize },
    layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
    annotations: { [REBUILT_FROM]: record.digest },
  });
}

/** The bytes of a layer's blob, verified on the way. @throws LayerfsError corrupt */
export function layerContent(
  context: StoreContext,
  layer: ImageLayerRecord,
  signal: AbortSignal | undefined,
): AsyncIterable<Uint8Array> {
  return verified(layerSource(context, layer, signal), () => undefined, signal);
}

async function* verified(
  source: LayerSource,
  tell: (done: number, state: 'writing' | 'done') => void,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let done = 0;
  for await (const chunk of source.open()) {
    checkAborted(signal);
    hash.update(chunk);
    done += chunk.length;
    // A tar cannot take more than its header said.
    if (done > source.size) break;
    tell(done, 'writing');
    yield chunk;
  }
  const found = digestFromBytes(hash.digest());
  if (done !== source.size || found !== source.digest) {
    throw new LayerfsError('corrupt', `blob ${source.digest} in the store is damaged: it does not match its digest`);
  }
  tell(done, 'done');
}

async function toFolder(files: readonly File[], out: string, signal: AbortSignal | undefined): Promise<void> {
  const made = await makeFolder(out);
  try {
    await mkdir(join(out, 'blobs/sha256'), { recursive: true });
    // index.json last: without it a half-written layout names no image.
    for (const file of [...files].toSorted(
      (a, b) => Number(a.path === 'index.json') - Number(b.path === 'index.json'),
    )) {
      checkAborted(signal);
      await pipeline(file.content, createWriteStream(join(out, file.path), { flags: 'wx' }));
    }
  } catch (error) {
    for (const name of ['index.json', 'oci-layout', 'blobs'])
      await rm(join(out, name), { recursive: true, force: true });
    if (made) await rmdir(out);
    throw error;
  }
}

/** @returns whether the folder is new */
async function makeFolder(out: string): Promise<boolean> {
  try {
    await mkdir(out);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) {
      throw new LayerfsError('not-found', `${dirname(out)} does not exist`, { cause: error });
    }
    if (!isErrno(error, 'EEXIST')) throw error;
  }
  const there = await readdir(out).catch((error: unknown) => {
    if (isErrno(error, 'ENOTDIR'))
      throw new LayerfsError('already-exists', `${out} is a file; for an archive give a name that ends in .tar`);
    throw error;
  });
  if (there.length > 0) throw new LayerfsError('already-exists', `${out} is not empty`);
  return false;
}

async function toFile(files: readonly File[], out: string): Promise<void> {
  let stream: Writable;
  try {
    stream = (await open(out, 'wx')).createWriteStream();
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw new LayerfsError('already-exists', `${out} exists`, { cause: error });
    throw error;
  }
  try {
    await writeTar(files, stream);
  } catch (error) {
    await rm(out, { force: true });
    throw error;
  }
}

/** The archive's own headers need not be exact, so tar-stream writes them. */
async function writeTar(files: readonly File[], out: Writable): Promise<void> {
  const archive = pack();
  const fill = async (): Promise<void> => {
    try {
      const date = new Date(0);
      for (const name of ['blobs/', 'blobs/sha256/'])
        archive.entry({ name, type: 'directory', mode: 0o755, mtime: date });
      for (const file of files) await addFile(archive, file, date);
      archive.finalize();
    } catch (error) {
      archive.destroy(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  };
  // Whichever fails first is the reason; the other one then fails because of it.
  const failures: unknown[] = [];
  const heard = (work: Promise<void>): Promise<unknown> => work.catch((error: unknown) => failures.push(error));
  await Promise.all([heard(pipeline(archive as AsyncIterable<Uint8Array>, out)), heard(fill())]);
  if (failures.length > 0) throw failures[0];
}

async function addFile(archive: Pack, file: File, mtime: Date): Promise<void> {
  let entry: ReturnType<Pack['entry']> | undefined;
  const taken = new Promise<void>((resolve, reject) => {
    entry = archive.entry({ name: file.path, size: file.size, mode: 0o644, mtime }, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(error);
    });
  });
  // Reported by whoever waits for it below, or not at all when the content failed first.
  taken.catch(() => undefined);
  // The same error as the callback's; unheard it would end the process (a closed pipe, say).
  (entry as unknown as EventEmitter | undefined)?.on('error', () => undefined);
  for await (const chunk of file.content()) {
    // An archive that was given up, as nobody reads it any more, never drains.
    if (entry?.write(chunk) === false) await Promise.race([once(entry as unknown as EventEmitter, 'drain'), taken]);
  }
  entry?.end(undefined);
  await taken;
}

function memory(path: string, bytes: Uint8Array): File {
  return {
    path,
    size: bytes.length,
    async *content() {
      yield bytes;
    },
  };
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
