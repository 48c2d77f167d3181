/** Push: an image, or all of an index, to a registry, with the digests that they came with. */
import type { Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { readBundle, type BundleDocument } from '../../core/oci/bundle.js';
import { parseRegistryReference, type RegistryReference } from '../../registry/address.js';
import { Registry } from '../../registry/registry.js';
import { sendBundle, type SendProgress, type SendResult } from '../../registry/send.js';
import type { StoreContext } from '../context.js';
import { hasBlob, readStoredBlob } from '../image/info.js';
import type { FoundImage } from '../image/lookup.js';
import type { ImageRecord, IndexRecord } from '../meta.js';
import { blobPath } from '../source/blobs.js';
import { layerContent, layoutOf, type File } from './export.js';
import { KeptUpload } from './kept-upload.js';

/** Options of a push. */
export interface PushOptions {
  /** Where to; the image's own name without it. */
  readonly to?: string;
  /** The index that the image was pulled with, and all its images, in place of the image alone. */
  readonly allPlatforms?: boolean;
  /** The client to push with; one with the system's settings by default. */
  readonly registry?: Registry;
  readonly onProgress?: (event: SendProgress) => void;
  readonly signal?: AbortSignal;
}

/** What a push did. */
export interface PushResult extends SendResult {
  /** Of the manifest or index. */
  readonly digest: Digest;
  /** Compressed blobs were dropped: it is a new manifest, with uncompressed layers of the same diffIDs. */
  readonly rebuilt: boolean;
}

/** What is sent, and where each blob is. */
interface Load {
  readonly documents: readonly BundleDocument[];
  readonly rebuilt: boolean;
  readonly content: (digest: Digest) => AsyncIterable<Uint8Array>;
}

/** Pushes an image: blobs that the registry lacks, and then the manifest. @throws LayerfsError */
export async function pushImage(context: StoreContext, found: FoundImage, options: PushOptions): Promise<PushResult> {
  const to = options.to ?? found.name;
  if (to === undefined) throw new LayerfsError('invalid-argument', 'the image has no name: say where to push it');
  const { tag = 'latest', ...rest } = parseRegistryReference(to);
  const { documents, rebuilt, content } =
    options.allPlatforms === true
      ? await wholeIndex(context, found, options.signal)
      : await oneImage(context, found, options.signal);
  const { digest } = documents[documents.length - 1].descriptor;
  if (rest.digest !== undefined && rest.digest !== digest) {
    throw new LayerfsError('invalid-argument', `the image has digest ${digest}, not ${rest.digest}`);
  }
  const reference: RegistryReference = rest.digest === undefined ? { ...rest, tag } : rest;
  const source = found.record.source === undefined ? undefined : parseRegistryReference(found.record.source);
  const registry = options.registry ?? new Registry();
  try {
    const sent = await sendBundle(registry, reference, documents, {
      content: ({ digest }, offset) => skip(content(digest), offset),
      isHere: () => true,
      from: source === undefined ? undefined : neighbour(source, reference),
      memory: (digest) => KeptUpload.take(context.paths.ingest, reference, digest),
      onProgress: options.onProgress,
      signal: options.signal,
    });
    return { digest, rebuilt, ...sent };
  } finally {
    if (options.registry === undefined) registry.close();
  }
}

/** The repository that a registry can take blobs from itself; undefined where there is none. */
export function neighbour(from: RegistryReference, to: RegistryReference): string | undefined {
  return from.host === to.host && from.repository !== to.repository ? from.repository : undefined;
}

async function oneImage(context: StoreContext, found: FoundImage, signal: AbortSignal | undefined): Promise<Load> {
  const { files, result, mediaType } = layoutOf(context, found, signal === undefined ? {} : { signal });
  const bytes = await bytesOf(fileOf(files, result.digest));
  const root = { digest: result.digest, mediaType, size: bytes.length };
  const documents = await readBundle(root, 'the store', () => Promise.resolve(bytes));
  return { documents, rebuilt: result.rebuilt, content: (digest) => fileOf(files, digest).content() };
}

/** Everything that the image's index names, which must all be here as it came. */
async function wholeIndex(
  context: StoreContext,
  { name, record }: FoundImage,
  signal: AbortSignal | undefined,
): Promise<Load> {
  const index = indexOf(record, name);
  if (index === undefined) {
    throw new LayerfsError(
      'not-found',
      'the image was not pulled with all platforms: there is no index to push (layerfs pull --all-platforms)',
    );
  }
  const kept = new Set(index.documents.map(({ digest }) => digest));
  const documents = await readBundle(index.documents[0], 'the store', ({ digest }) => {
    if (!kept.has(digest) && context.meta.image(digest) === undefined) {
      throw new LayerfsError('not-found', `image ${digest} of the index was removed: pull it again with all platforms`);
    }
    return Promise.resolve(readStoredBlob(context, digest));
  });
  const layers = new Map(
    documents
      .flatMap(({ descriptor }) => context.meta.image(descriptor.digest)?.layers ?? [])
      .map((layer) => [layer.digest, layer]),
  );
  for (const { digest, diffID } of layers.values()) {
    if (digest === diffID || hasBlob(context, digest)) continue;
    throw new LayerfsError(
      'failed-precondition',
      `the compressed blob ${digest} was dropped, and an index cannot be changed: push the images one by one`,
    );
  }
  return {
    documents,
    rebuilt: false,
    content: (digest) => {
      const layer = layers.get(digest);
      return layer === undefined ? once(readStoredBlob(context, digest)) : layerContent(context, layer, signal);
    },
  };
}

/** The images of the index that an image was pulled with, as far as they are there. */
export function imagesOfIndex({ meta }: StoreContext, { name, record }: FoundImage): ImageRecord[] {
  const index = indexOf(record, name)?.documents[0].digest;
  const isOf = ({ indexes = [] }: ImageRecord): boolean =>
    indexes.some(({ documents }) => documents[0].digest === index);
  return index === undefined ? [] : meta.images().filter((image) => isOf(image));
}

/** The index that an image was pulled with: under this name, or else the last. */
function indexOf(record: ImageRecord, name: string | undefined): IndexRecord | undefined {
  return record.indexes?.find((index) => index.name === name) ?? record.indexes?.at(-1);
}

function fileOf(files: readonly File[], digest: Digest): File {
  const file = files.find(({ path }) => path === blobPath(digest));
  if (file === undefined) throw new LayerfsError('internal', `${digest} is not of the image`);
  return file;
}

async function bytesOf(file: File): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of file.content()) parts.push(piece);
  return Buffer.concat(parts);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

/** What comes after `offset`. All is read, as all of it is verified. */
export async function* skip(content: AsyncIterable<Uint8Array>, offset: number): AsyncGenerator<Uint8Array> {
  let left = offset;
  for await (const piece of content) {
    if (left < piece.length) yield piece.subarray(left);
    left = Math.max(0, left - piece.length);
  }
}
