/** A snapshot as a new image: the image that it was made of, and one layer of what was changed. */
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { LayerfsError } from '../../core/error.js';
import { parseConfig } from '../../core/oci/config.js';
import { MEDIA_TYPE, layerCompression } from '../../core/oci/media-types.js';
import { parseImageName } from '../../core/oci/reference.js';
import type { LayerEntry } from '../../core/overlay/entry.js';
import type { StoreContext } from '../context.js';
import { imageConfig } from '../image/info.js';
import { importSource, makeManifest } from '../import/import.js';
import type { ImportedImage, ImportProgress } from '../import/progress.js';
import type { ImageLayerRecord, ImageRecord } from '../meta.js';
import { sha256 } from '../source/blobs.js';
import type { FoundLayer, SourceDocuments, SourceLayer } from '../source/source.js';
import { isSameFolder } from './layer-tar.js';
import { snapshotRecord, type Freeze } from './snapshot.js';
import { upperTar } from './upper-tar.js';

/** Options of a commit. */
export interface CommitOptions {
  /** The history entry's comment. */
  readonly message?: string;
  readonly author?: string;
  /** Make an image also when nothing was changed. */
  readonly allowEmpty?: boolean;
  /** Called before the upper folder is read: makes that nobody writes to it until what it returns is called. */
  readonly freeze?: Freeze;
  readonly onProgress?: (event: ImportProgress) => void;
  readonly signal?: AbortSignal;
}

/** What a commit made. */
export interface CommitResult {
  readonly image: ImportedImage;
  readonly added: number;
  readonly changed: number;
  readonly deleted: number;
  /** Objects, and bytes of them, that the store did not have. */
  readonly newObjects: number;
  readonly newBytes: number;
  readonly notes: readonly string[];
}

interface Counts {
  /** What a layer has to say at all: files may also have other names than before, and nothing else. */
  entries: number;
  added: number;
  changed: number;
  deleted: number;
}

/**
 * Commits a snapshot, by way of an import: the layer is written as a compressed tar, and read back into the store as one
 * that came from elsewhere.
 * @throws LayerfsError not-found; failed-precondition when nothing was changed; corrupt for a damaged upper folder. Then
 * nothing was added.
 */
export async function commitSnapshot(
  context: StoreContext,
  name: string,
  ref: string,
  options: CommitOptions,
): Promise<CommitResult> {
  const names = [parseImageName(ref)];
  const counts: Counts = { entries: 0, added: 0, changed: 0, deleted: 0 };
  const notes: string[] = [];
  const result = await importSource(
    context,
    async (session) => {
      const { id, image } = await context.lock.shared(options.signal, () => {
        const record = snapshotRecord(context.meta, name);
        session.keep({ snapshots: [name] });
        return record;
      });
      const upper = join(context.paths.snapshot(id), 'upper');
      const changes = ({ chainID, layers }: ImageRecord, folder: string): AsyncGenerator<Uint8Array> =>
        upperTar(context, { chainID, diffIDs: layers.map(({ diffID }) => diffID) }, folder, {
          onNote: (note) => notes.push(note),
          through: (entries) => counted(entries, counts),
          ...(options.signal === undefined ? {} : { signal: options.signal }),
        });
      const layers = [
        ...image.layers.map(baseLayer),
        {
          what: `the changes of ${name}`,
          mediaType: `${MEDIA_TYPE.layer}+gzip`,
          open: () => compressed(frozen(options.freeze, () => changes(image, upper))),
        },
      ];
      const complete = (found: readonly FoundLayer[]): SourceDocuments => {
        if (counts.entries === 0 && options.allowEmpty !== true) {
          throw new LayerfsError('failed-precondition', `nothing changed in snapshot ${name}`);
        }
        return documents(context, image, found, options);
      };
      return { format: 'folder', images: [{ names, layers, complete }], notes };
    },
    options,
  );
  const { images, newObjects, newBytes } = result;
  const { added, changed, deleted } = counts;
  return { image: images[0], added, changed, deleted, newObjects, newBytes, notes: result.notes };
}

/** A layer that the store has: it is not read. */
function baseLayer({ diffID, digest, mediaType, size }: ImageLayerRecord): SourceLayer {
  return {
    what: `layer ${diffID}`,
    diffID,
    digest,
    size,
    // In an OCI manifest; the bytes of the two kinds are the same.
    mediaType: mediaType.startsWith('application/vnd.docker.image.rootfs.diff.') ? ociType(mediaType) : mediaType,
    open: () => {
      throw new LayerfsError('corrupt', `the store is damaged: layer ${diffID} of the snapshot's image is missing`);
    },
  };
}

function ociType(mediaType: string): string {
  const compression = layerCompression(mediaType);
  return compression === 'none' ? MEDIA_TYPE.layer : `${MEDIA_TYPE.layer}+${compression}`;
}

function* counted(entries: Iterable<LayerEntry>, counts: Counts): Generator<LayerEntry> {
  for (const entry of entries) {
    if (!isSameFolder(entry)) counts.entries++;
    if (entry.kind === 'deleted') counts.deleted++;
    else if (entry.kind === 'entry' && entry.change !== undefined) counts[entry.change]++;
    yield entry;
  }
}

/** Bytes that are read while a mount is frozen, and not a moment longer. */
async function* frozen(freeze: Freeze | undefined, read: () => AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const thaw = await freeze?.();
  try {
    yield* read();
  } finally {
    await thaw?.();
  }
}

async function* compressed(source: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gzip = createGzip({ level: 6 });
  const feeding = pipeline(source, gzip);
  // Whoever reads hears of it.
  feeding.catch(() => undefined);
  try {
    for await (const piece of gzip) yield piece as Uint8Array;
    await feeding;
  } finally {
    gzip.destroy();
    await feeding.catch(() => undefined);
  }
}

/** The base's config with one more layer and step, and a manifest for it. */
function documents(
  context: StoreContext,
  image: ImageRecord,
  layers: readonly FoundLayer[],
  { message, author }: CommitOptions,
): SourceDocuments {
  const created = new Date().toISOString();
  const base = imageConfig(context, image).raw;
  const history = Array.isArray(base['history']) ? (base['history'] as unknown[]) : [];
  const step = {
    created,
    created_by: 'layerfs commit',
    ...(author === undefined ? {} : { author }),
    ...(message === undefined ? {} : { comment: message }),
  };
  const bytes = Buffer.from(
    JSON.stringify({
      ...base,
      created,
      ...(author === undefined ? {} : { author }),
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffID }) => diffID) },
      history: [...history, step],
    }),
  );
  const digest = sha256(bytes);
  const config = { bytes, digest, parsed: parseConfig(bytes, digest) };
  return { config, manifest: makeManifest(config, layers) };
}
