/** Import: from a source's images to recorded ones, or to nothing at all. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestHex, type ChainID, type Digest, type DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { parseConfig } from '../../core/oci/config.js';
import { MEDIA_TYPE } from '../../core/oci/media-types.js';
import { formatPlatform, parsePlatform } from '../../core/oci/platform.js';
import { parseImageName } from '../../core/oci/reference.js';
import type { StoreContext } from '../context.js';
import type { IndexRecord } from '../meta.js';
import { checkAborted } from '../errors.js';
import { ObjectWriter } from '../objects.js';
import { Session } from '../session.js';
import { InflateThreads } from '../inflate/thread.js';
import { sha256 } from '../source/blobs.js';
import { currentPlatform } from '../source/host.js';
import { openSource, type ImportInput } from '../source/open.js';
import type { FoundLayer, Source, SourceImage, SourceIndex, SourceLayer } from '../source/source.js';
import { chainOf, writeMergedTree } from '../trees.js';
import { commit, type FinishedImage } from './commit.js';
import { Disk } from './disk.js';
import type { Download } from './download.js';
import { lockLayer, type LayerLock } from './layer-lock.js';
import { knownLayer, readLayer, type LayerWork, type ReadLayer } from './layer.js';
import type { ImportedImage, ImportOptions, ImportProgress, ImportResult } from './progress.js';
import { sweepStore } from '../gc/sweep.js';
import { emptyTrashUnlessCollected } from '../gc/trash.js';

/** Layers of one import that are read at the same time: one inflates while the other is hashed and written. */
const CONCURRENCY = 2;

interface Job {
  readonly layer: SourceLayer;
  readonly index: number;
  readonly of: number;
}

/** Imports what a path or a stream holds. @throws LayerfsError; then nothing was added */
export function importImages(context: StoreContext, input: ImportInput, options: ImportOptions): Promise<ImportResult> {
  const name = options.name === undefined ? undefined : parseImageName(options.name);
  const platform = options.platform === undefined ? undefined : formatPlatform(parsePlatform(options.platform));
  const { signal } = options;
  return importSource(
    context,
    (session, threads) =>
      openSource(input, session.folder, {
        threads,
        ...(name === undefined ? {} : { name }),
        ...(platform === undefined ? {} : { platform }),
        ...(signal === undefined ? {} : { signal }),
      }),
    options,
  );
}

/**
 * Imports what a source holds, whoever makes it.
 * @param openImages `session` keeps what the source needs of the store; its folder is for what must lie on disk to be read
 * @throws LayerfsError; then nothing was added
 */
export async function importSource(
  context: StoreContext,
  openImages: (session: Session, threads: InflateThreads) => Promise<Source>,

  options: Pick<ImportOptions, 'maxLayerSize' | 'onProgress' | 'signal'>,
): Promise<ImportResult> {
  checkAborted(options.signal);
  return Disk.during(context.paths.root, (disk) => importTo(disk, context, openImages, options));
}

async function importTo(
  disk: Disk,
  context: StoreContext,
  openImages: (session: Session, threads: InflateThreads) => Promise<Source>,
  options: Pick<ImportOptions, 'maxLayerSize' | 'onProgress' | 'signal'>,
): Promise<ImportResult> {
  const { paths } = context;
  const locks: LayerLock[] = [];
  const downloads: Download[] = [];
  let publishing = false;
  let failed = true;
  const session = await context.lock.shared(options.signal, () => new Session(context, 'import'));
  const objects = new ObjectWriter(paths, session.folder);
  const threads = new InflateThreads();
  try {
    const source = await openImages(session, threads);
    const work: LayerWork = {
      context,
      session,
      objects,
      threads,
      downloads,
      maxSize: options.maxLayerSize,
      signal: options.signal,
    };
    const layers = await readLayers(work, source, locks, options.onProgress ?? (() => undefined));
    disk.quiet();
    const documents = indexFiles(source.index, session.folder);
    const images = source.images.map((image, index) => finishImage(image, layers, session.folder, index, source.index));
    const durable = disk.sync();
    // Meanwhile; what is wrong here is told first.
    durable.catch(() => undefined);
    const chains = mergeChains(context, session.folder, images, [...layers.values()]);
    await durable;
    checkAborted(options.signal);
    await context.lock.shared(options.signal, async () => {
      publishing = true;
      await commit(context, {
        images,
        documents,
        layers: distinct([...layers.values()]),
        chains,
        objects,
        session,
        disk,
      });
    });
    failed = false;
    const notes = [...source.notes];
    for (const message of notes) options.onProgress?.({ kind: 'note', message });
    const imported = images.flatMap((image) => describe(image, layers));
    for (const image of imported) options.onProgress?.({ kind: 'image', name: image.name, digest: image.digest });
    return { images: imported, newObjects: objects.newObjects, newBytes: objects.newBytes, notes };
  } finally {
    await threads.close();
    await objects.close();
    for (const download of downloads) download.release();
    for (const held of locks) held.release();
    if (failed && publishing) {
      session.abandon();
      // What was published and not recorded; whoever opens the store later does it if we cannot, be it for the same reason
      // for which the import failed, which is the one to tell.
      await sweepStore(context).catch(() => undefined);
    } else {
      session.end();
      await emptyTrashUnlessCollected(paths);
    }
  }
}

/** Reads every layer of the images once, some at a time. */
async function readLayers(
  work: LayerWork,
  source: Source,
  locks: LayerLock[],
  onProgress: (event: ImportProgress) => void,
): Promise<Map<SourceLayer, ReadLayer>> {
  const results = new Map<SourceLayer, ReadLayer>();
  const jobs = new Map<string, { job: Job; same: SourceLayer[] }>();
  const all = source.images.flatMap((image) => image.layers);
  const keys = new Set(all.map((layer, i) => keyOf(layer, i)));
  for (const [i, layer] of all.entries()) {
    const found = jobs.get(keyOf(layer, i));
    if (found !== undefined) found.same.push(layer);
    else jobs.set(keyOf(layer, i), { job: { layer, index: jobs.size + 1, of: keys.size }, same: [layer] });
  }
  const tell = (job: Job, state: 'waiting' | 'exists' | 'reading' | 'done', done: number): void => {
    const digest = job.layer.digest ?? job.layer.diffID ?? '';
    onProgress({ kind: 'layer', index: job.index, of: job.of, digest, done, total: job.layer.size, state });
  };
  const queue: { job: Job; same: SourceLayer[] }[] = [];
  const take = ({ job, same }: { job: Job; same: SourceLayer[] }): boolean => {
    const known = knownLayer(work.context, job.layer);
    if (known === undefined) return false;
    for (const layer of same) results.set(layer, known);
    tell(job, 'exists', job.layer.size ?? 0);
    return true;
  };
  const { context, session } = work;
  await context.lock.shared(work.signal, () => {
    // Those that the store has stay until we are done.
    const named = all.map(({ diffID }) => diffID).filter((diffID) => diffID !== undefined);
    session.keep({ layers: named.filter((diffID) => context.meta.layer(diffID) !== undefined) });
    for (const entry of jobs.values()) if (!take(entry)) queue.push(entry);
  });
  // All locks before any work, in one order: importers of the same layers wait for the first, never for each other.
  const byDiffID = new Map(queue.map((entry) => [entry.job.layer.diffID, entry]));
  for (const diffID of [...byDiffID.keys()].filter((id) => id !== undefined).toSorted()) {
    const job = byDiffID.get(diffID)?.job;
    locks.push(
      await lockLayer(context.paths.ingest, diffID, work.signal, () => job !== undefined && tell(job, 'waiting', 0)),
    );
  }
  const left = await context.lock.shared(work.signal, () => {
    session.keep({
      layers: [...byDiffID.keys()].filter((id) => id !== undefined && context.meta.layer(id) !== undefined) as DiffID[],
    });
    return queue.filter((entry) => !take(entry));
  });
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined && failures.length === 0; next = left.shift()) {
      const { job, same } = next;
      let done = 0;
      tell(job, 'reading', 0);
      try {
        const read = await readLayer(work, job.layer, job.index, (bytes) => {
          // The other one failed: no use in going on.
          if (failures.length > 0) throw new LayerfsError('aborted', 'another layer failed');
          done += bytes;
          tell(job, 'reading', done);
        });
        for (const layer of same) results.set(layer, read);
      } catch (error) {
        failures.push(error);
        return;
      }
      tell(job, 'done', done);
    }
  };
  await Promise.all(Array.from({ length: source.parallel ?? CONCURRENCY }, () => worker()));
  if (failures.length > 0) throw failures[0];
  return results;
}

function keyOf(layer: SourceLayer, index: number): string {
  // Two blobs may hold the same tar: each is verified and kept.
  return layer.digest ?? layer.diffID ?? `${index}`;
}

/** Two blobs of the same content, or two rootfs layers alike: one of them brings the layer. */
function distinct(layers: readonly ReadLayer[]): ReadLayer[] {
  return [...new Set(layers)];
}

/** @param folder gets the image's manifest and config */
function finishImage(
  image: SourceImage,
  layers: ReadonlyMap<SourceLayer, ReadLayer>,
  folder: string,
  index: number,
  whole: SourceIndex | undefined,
): FinishedImage {
  const read = image.layers.map((layer) => layerOf(layers, layer));
  const diffIDs = read.map(({ diffID }) => diffID);
  const made = image.complete?.(read);
  const config = made?.config ?? image.config ?? makeConfig(image, diffIDs);
  const manifest = made?.manifest ?? image.manifest ?? makeManifest(config, read);
  const { parsed } = config;
  return {
    names: image.names,
    manifest: writeBlob(join(folder, `manifest-${index}`), manifest.bytes),
    config: writeBlob(join(folder, `config-${index}`), config.bytes),
    record: {
      digest: manifest.digest,
      mediaType: manifest.mediaType,
      size: manifest.bytes.length,
      config: config.digest,
      platform: parsed.platform === undefined ? '' : formatPlatform(parsed.platform),
      ...(parsed.created === undefined ? {} : { created: parsed.created }),
      chainID: chainOf(diffIDs),
      imported: new Date().toISOString(),
      layers: read.map(({ diffID, digest, mediaType, size }) => ({ diffID, digest, mediaType, size })),
      contentSize: read.reduce((sum, { record }) => sum + record.contentSize, 0),
      ...(image.source === undefined ? {} : { source: image.source }),
      ...(whole === undefined ? {} : { indexes: [indexRecord(whole)] }),
    },
  };
}

function indexRecord({ name, documents }: SourceIndex): IndexRecord {
  return { name, documents: documents.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })) };
}

/** Files of the documents that come with the index. */
function indexFiles(index: SourceIndex | undefined, folder: string): Map<Digest, string> {
  const files = new Map<Digest, string>();
  for (const document of index?.documents ?? []) {
    const { digest } = document;
    if (files.has(digest)) continue;
    const file =
      'file' in document ? document.file : writeBlob(join(folder, `document-${digestHex(digest)}`), document.bytes);
    files.set(digest, file);
  }
  return files;
}

function writeBlob(path: string, bytes: Uint8Array): string {
  writeFileSync(path, bytes, { flag: 'wx', mode: 0o400 });
  return path;
}

/** A config for a root filesystem without one. The same content gives the same image: there is no time in it. */
function makeConfig(image: SourceImage, diffIDs: readonly string[]): NonNullable<SourceImage['config']> {
  const { os, architecture, variant } = parsePlatform(currentPlatform());
  const bytes = json({
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    config: {},
    rootfs: { type: 'layers', diff_ids: diffIDs },
    history: [{ created_by: image.createdBy ?? 'layerfs import' }],
  });
  const digest = sha256(bytes);
  return { bytes, digest, parsed: parseConfig(bytes, digest) };
}

/** A manifest for a config and its layers, lowest first. */
export function makeManifest(
  config: NonNullable<SourceImage['config']>,
  layers: readonly FoundLayer[],
): NonNullable<SourceImage['manifest']> {
  const bytes = json({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.manifest,
    config: { mediaType: MEDIA_TYPE.config, digest: config.digest, size: config.bytes.length },
    layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  });
  return { bytes, digest: sha256(bytes), mediaType: MEDIA_TYPE.manifest };
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

/** Merged trees of the images, in the session's folder, except those that the store has. */
function mergeChains(
  { paths, xxhash }: StoreContext,
  folder: string,
  images: readonly FinishedImage[],
  layers: readonly ReadLayer[],
): Map<ChainID, string> {
  const chains = new Map<ChainID, string>();
  const ours = new Map(layers.map((layer) => [layer.diffID, layer.folder]));
  for (const { record } of images) {
    // One that is removed before we are done is made when all is published.
    if (chains.has(record.chainID) || existsSync(paths.chainTree(record.chainID))) continue;
    const target = join(folder, `chain-${digestHex(record.chainID)}`);
    mkdirSync(target, { mode: 0o700 });
    const trees = record.layers.map(({ diffID }) => {
      const own = ours.get(diffID);
      return own === undefined ? paths.layerTree(diffID) : join(own, 'tree');
    });
    writeMergedTree(trees, join(target, 'tree'), xxhash);
    chains.set(record.chainID, target);
  }
  return chains;
}

function describe(image: FinishedImage, layers: ReadonlyMap<SourceLayer, ReadLayer>): ImportedImage[] {
  const byDigest = new Map([...layers.values()].map((layer) => [layer.digest, layer]));
  const base = {
    digest: image.record.digest,
    platform: image.record.platform,
    chainID: image.record.chainID,
    layers: image.record.layers.map(({ diffID, digest, size }) => {
      const read = byDigest.get(digest);
      return {
        diffID,
        digest,
        size,
        unpackedSize: read?.record.size ?? 0,
        entries: read?.record.entries ?? 0,
        reused: read?.folder === undefined,
      };
    }),
  };
  return image.names.length === 0 ? [base] : image.names.map((name) => ({ name, ...base }));
}

function layerOf(layers: ReadonlyMap<SourceLayer, ReadLayer>, layer: SourceLayer): ReadLayer {
  const read = layers.get(layer);
  if (read === undefined) throw new LayerfsError('internal', `${layer.what} was not read`);
  return read;
}
