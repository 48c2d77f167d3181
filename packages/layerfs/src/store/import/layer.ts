import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { digestFromBytes, type Digest, type DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { layerCompression, MEDIA_TYPE, type Compression } from '../../core/oci/media-types.js';
import type { StoreContext } from '../context.js';
import { checkAborted } from '../errors.js';
import { sniffCompression } from '../inflate/compression.js';
import { Inflated } from '../inflate/inflate.js';
import type { InflateThreads } from '../inflate/thread.js';
import { unpackLayer, type UnpackedLayer } from '../layer-unpack.js';
import type { LayerRecord } from '../meta.js';
import type { ObjectWriter } from '../objects.js';
import type { Session } from '../session.js';
import type { SourceLayer } from '../source/source.js';
import { Download } from './download.js';
import { BlobIntake, cloneBlob, readFileStream } from './intake.js';

/** A layer as an import found it: known before, or unpacked in the session's folder. */
export interface ReadLayer {
  readonly diffID: DiffID;
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
  readonly record: LayerRecord;
  /** Where its files lie until they are published; undefined for a layer that the store has. */
  readonly folder?: string;
  readonly unpacked?: UnpackedLayer;
  /** The blob's file in the session's folder, where it is kept. */
  readonly blobFile?: string;
}

/** What layers of one import share. */
export interface LayerWork {
  readonly context: StoreContext;
  /** New files go to its folder; it keeps the layers that were found to be there. */
  readonly session: Session;
  readonly objects: ObjectWriter;
  readonly threads: InflateThreads;
  /** What comes from far; released when the import has ended. */
  readonly downloads: Download[];
  readonly maxSize: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** A layer that needs no reading: its content is in the store, and its blob was verified to be that content before. */
export function knownLayer({ meta }: StoreContext, layer: SourceLayer): ReadLayer | undefined {
  const { diffID, digest, size } = layer;
  if (diffID === undefined) return undefined;
  const record = meta.layer(diffID);
  const blob = digest === undefined ? undefined : meta.blob(digest);
  if (blob !== undefined && blob.diffID !== diffID) throw wrongDiffID(layer.what, blob.diffID, diffID);
  if (record === undefined) return undefined;
  if (digest !== undefined && blob !== undefined) {
    return { diffID, digest, size: blob.size, mediaType: layer.mediaType ?? blob.mediaType, record };
  }
  // A tar of the very size, or one that says itself to be that tar: nothing of it is used, so nothing need be verified.
  const plain = digest === undefined ? size === record.size : digest === diffID;
  if (!plain) return undefined;
  if (size !== undefined && size !== record.size) {
    throw new LayerfsError('corrupt', `${layer.what} has a size of ${size} bytes instead of ${record.size}`);
  }
  return { diffID, digest: diffID, size: record.size, mediaType: layer.mediaType ?? MEDIA_TYPE.layer, record };
}

/**
 * Reads a layer, as {@link readOnce}. What an earlier import left of it may be damaged, after a power failure for example: then
 * it is read again from the beginning.
 */
export async function readLayer(
  work: LayerWork,
  layer: SourceLayer,
  number: number,
  onBytes: (bytes: number) => void,
): Promise<ReadLayer> {
  const download = takeDownload(work, layer);
  let counted = 0;
  try {
    const read = await readOnce(work, layer, download, number, (bytes) => {
      counted += bytes;
      onBytes(bytes);
    });
    if (read.blobFile === download?.path) download?.seal();
    return read;
  } catch (error) {
    if (download === undefined || !(error instanceof LayerfsError) || error.code !== 'corrupt') throw error;
    download.drop();
    if (download.have === 0) throw error;
    onBytes(-counted);
    rmSync(join(work.session.folder, `layer-${number}`), { recursive: true, force: true });
    return readLayer(work, layer, number, onBytes);
  }
}

function takeDownload({ context, downloads }: LayerWork, layer: SourceLayer): Download | undefined {
  const { fetch, digest, size, mediaType } = layer;
  if (fetch === undefined || digest === undefined || size === undefined || mediaType === undefined) return undefined;
  // The tar itself is not kept.
  if (layerCompression(mediaType) === 'none') return undefined;
  const download = Download.take(context.paths.ingest, digest, size);
  if (download !== undefined) downloads.push(download);
  return download;
}

async function* continued(download: Download, fetch: NonNullable<SourceLayer['fetch']>): AsyncGenerator<Uint8Array> {
  if (download.have > 0) yield* readFileStream(download.path, download.have);
  yield* fetch(download.have);
}

/**
 * Reads a layer: verifies blob and diffID, unpacks it unless the store has it, and keeps its blob.
 * @param number names its files in the session's folder
 */
async function readOnce(
  work: LayerWork,
  layer: SourceLayer,
  download: Download | undefined,
  number: number,
  onBytes: (bytes: number) => void,
): Promise<ReadLayer> {
  const blobFile = download?.path ?? join(work.session.folder, `blob-${number}`);
  const declared = layer.mediaType === undefined ? undefined : layerCompression(layer.mediaType);
  const cloned = layer.file !== undefined && declared !== 'none' && cloneBlob(layer.file, blobFile);
  const far = download === undefined || layer.fetch === undefined ? undefined : continued(download, layer.fetch);
  const intake = new BlobIntake(far ?? (cloned ? readFileStream(blobFile) : layer.open()), {
    what: layer.what,
    onBytes,
    ...(layer.digest === undefined ? {} : { digest: layer.digest }),
    ...(layer.size === undefined ? {} : { size: layer.size }),
    ...(work.signal === undefined ? {} : { signal: work.signal }),
  });
  try {
    const compression = declared ?? sniffCompression(await intake.head(8));
    // A blob that is the tar itself is not kept: it is given back from the tar record.
    const kept = compression !== 'none';
    if (download !== undefined) await intake.keepRest(blobFile, download.have);
    else if (kept && !cloned) await intake.keep(blobFile);
    const tar = new Inflated(intake, compression, layer.what, work.threads);
    const known = layer.diffID === undefined ? undefined : await keepLayer(work, layer.diffID);
    const content = await decoded(intake, async () =>
      known === undefined ? unpack(work, tar, number) : { ...(await hashOnly(tar, work.signal)), record: known },
    );
    if (layer.diffID !== undefined && content.diffID !== layer.diffID) {
      // A damaged blob is the better explanation, where it is one.
      await intake.finish();
      throw wrongDiffID(layer.what, content.diffID, layer.diffID);
    }
    const { digest, size } = await intake.finish();
    return {
      ...content,
      digest,
      size,
      mediaType: layer.mediaType ?? mediaTypeOf(compression),
      ...(kept || cloned ? { blobFile } : {}),
    };
  } finally {
    await intake.close();
  }
}

/** The record of a layer that the store has, and will have as long as the session lives. */
function keepLayer({ context, session, signal }: LayerWork, diffID: DiffID): Promise<LayerRecord | undefined> {
  return context.lock.shared(signal, () => {
    const record = context.meta.layer(diffID);
    if (record !== undefined) session.keep({ layers: [diffID] });
    return record;
  });
}

/** What was read so far may be wrong because the blob is: then that is what to say. */
async function decoded<T>(intake: BlobIntake, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof LayerfsError && error.code === 'corrupt') await intake.finish();
    throw error;
  }
}

async function unpack(
  work: LayerWork,
  tar: Inflated,
  number: number,
): Promise<{ diffID: DiffID; record: LayerRecord; folder: string; unpacked: UnpackedLayer }> {
  const folder = join(work.session.folder, `layer-${number}`);
  mkdirSync(folder, { mode: 0o700 });
  const unpacked = await unpackLayer(tar, folder, work.objects, work.context.xxhash, {
    ...(work.maxSize === undefined ? {} : { maxSize: work.maxSize }),
    ...(work.signal === undefined ? {} : { signal: work.signal }),
  });
  const { diffID, size, contentSize, entries, objects } = unpacked;
  return { diffID, folder, unpacked, record: { size, contentSize, entries, objects: objects.count } };
}

async function hashOnly(tar: Inflated, signal: AbortSignal | undefined): Promise<{ diffID: DiffID }> {
  // The bytes are hashed on their way.
  for await (const _ of tar) checkAborted(signal);
  return { diffID: digestFromBytes(tar.digest()) as DiffID };
}

function mediaTypeOf(compression: Compression): string {
  return compression === 'none' ? MEDIA_TYPE.layer : `${MEDIA_TYPE.layer}+${compression}`;
}

function wrongDiffID(what: string, found: DiffID, expected: DiffID): LayerfsError {
  return new LayerfsError('corrupt', `${what}: its content has diffID ${found} where the config says ${expected}`);
}
