/** Push: an image to a registry, with the digests that it came with. */
import type { Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { parseRegistryReference } from '../../registry/address.js';
import { inParallel } from '../../registry/parallel.js';
import { Registry } from '../../registry/registry.js';
import type { StoreContext } from '../context.js';
import { blobPath } from '../source/blobs.js';
import type { FoundImage } from '../image/lookup.js';
import { layoutOf, type File } from './export.js';
import { KeptUpload } from './kept-upload.js';

/** Options of a push. */
export interface PushOptions {
  /** Where to; the image's own name without it. */
  readonly to?: string;
  /** The client to push with; one with the system's settings by default. */
  readonly registry?: Registry;
  readonly onProgress?: (event: PushProgress) => void;
  readonly signal?: AbortSignal;
}

/** What a push tells while it runs: bytes of a blob that the registry has. */
export interface PushProgress {
  readonly kind: 'layer';
  /** 1-based. */
  readonly index: number;
  readonly of: number;
  readonly digest: Digest;
  readonly done: number;
  readonly total: number;
  readonly state: 'exists' | 'mounted' | 'sending' | 'done';
}

/** What a push did. Counts of blobs: layers and the config. */
export interface PushResult {
  /** Of the manifest. */
  readonly digest: Digest;
  /** Compressed blobs were dropped: it is a new manifest, with uncompressed layers of the same diffIDs. */
  readonly rebuilt: boolean;
  readonly uploaded: number;
  /** Taken from another repository of the registry. */
  readonly mounted: number;
  /** Were there already. */
  readonly existing: number;
  /** Bytes of what was uploaded. */
  readonly bytes: number;
}

/** Blobs that are sent at the same time. */
const PARALLEL = 3;

/** Pushes an image: blobs that the registry lacks, and then the manifest. @throws LayerfsError */
export async function pushImage(context: StoreContext, found: FoundImage, options: PushOptions): Promise<PushResult> {
  const to = options.to ?? found.name;
  if (to === undefined) throw new LayerfsError('invalid-argument', 'the image has no name: say where to push it');
  const reference = parseRegistryReference(to);
  const { signal } = options;
  const { files, result, mediaType } = layoutOf(context, found, signal === undefined ? {} : { signal });
  if (reference.digest !== undefined && reference.digest !== result.digest) {
    throw new LayerfsError('invalid-argument', `the image has digest ${result.digest}, not ${reference.digest}`);
  }
  const source = found.record.source === undefined ? undefined : parseRegistryReference(found.record.source);
  const from =
    source?.host === reference.host && source.repository !== reference.repository ? source.repository : undefined;
  const registry = options.registry ?? new Registry();
  const manifest = await bytesOf(files, result.digest);
  const blobs = files.flatMap(({ path, size, content }) => {
    const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
    const digest = `sha256:${hex}` as Digest;
    return hex === undefined || digest === result.digest ? [] : [{ digest, size, content }];
  });
  const counts = { exists: 0, mounted: 0, uploaded: 0 };
  let bytes = 0;
  try {
    await inParallel([...blobs.entries()], PARALLEL, signal, async ([i, { digest, size, content }], signal) => {
      const tell = (state: PushProgress['state'], done: number): void =>
        options.onProgress?.({ kind: 'layer', index: i + 1, of: blobs.length, digest, done, total: size, state });
      const memory = KeptUpload.take(context.paths.ingest, reference, digest);
      try {
        const how = await registry.uploadBlob(reference, { digest, size }, (offset) => skip(content(), offset), {
          from,
          memory,
          signal,
          onProgress: (done) => tell('sending', done),
        });
        counts[how]++;
        if (how === 'uploaded') bytes += size;
        tell(how === 'uploaded' ? 'done' : how, size);
      } finally {
        memory?.release();
      }
    });
    await registry.putManifest(reference, { bytes: manifest, digest: result.digest, mediaType }, { signal });
  } finally {
    if (options.registry === undefined) registry.close();
  }
  const { exists, mounted, uploaded } = counts;
  return { digest: result.digest, rebuilt: result.rebuilt, uploaded, mounted, existing: exists, bytes };
}

async function bytesOf(files: readonly File[], digest: Digest): Promise<Uint8Array> {
  const document = files.find(({ path }) => path === blobPath(digest));
  if (document === undefined) throw new LayerfsError('internal', `no manifest ${digest}`);
  const parts: Uint8Array[] = [];
  for await (const piece of document.content()) parts.push(piece);
  return Buffer.concat(parts);
}

/** What comes after `offset`. All is read, as all of it is verified. */
async function* skip(content: AsyncIterable<Uint8Array>, offset: number): AsyncGenerator<Uint8Array> {
  let left = offset;
  for await (const piece of content) {
    if (left < piece.length) yield piece.subarray(left);
    left = Math.max(0, left - piece.length);
  }
}
