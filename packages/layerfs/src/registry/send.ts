/** Gives a registry an image, or an index and all below it: blobs first, then what names them, and the root at the end. */
import type { Digest } from '../core/digest.js';
import type { BundleDocument } from '../core/oci/bundle.js';
import type { Descriptor } from '../core/oci/descriptor.js';
import { isForeignLayerType } from '../core/oci/media-types.js';
import type { RegistryReference } from './address.js';
import { inParallel } from './parallel.js';
import type { Registry } from './registry.js';
import type { UploadMemory } from './upload/upload.js';

/** What sending tells while it runs: bytes of a blob that the registry has. */
export interface SendProgress {
  readonly kind: 'layer';
  /** 1-based. */
  readonly index: number;
  readonly of: number;
  readonly digest: Digest;
  readonly done: number;
  readonly total: number;
  readonly state: 'exists' | 'mounted' | 'sending' | 'done';
}

/** What sending did. Counts of blobs: layers and configs. */
export interface SendResult {
  readonly uploaded: number;
  /** Taken from another repository of the registry. */
  readonly mounted: number;
  /** Were there already. */
  readonly existing: number;
  /** Bytes of what was uploaded. */
  readonly bytes: number;
}

/** Where the blobs are, and who wants to know. */
export interface SendOptions {
  readonly content: (
    blob: Pick<Descriptor, 'digest' | 'size'>,
    offset: number,
    signal: AbortSignal,
  ) => AsyncIterable<Uint8Array>;
  /** Whether a blob that has to come from elsewhere is there all the same. */
  readonly isHere: (digest: Digest) => boolean;
  /** A repository of the same registry that has them. */
  readonly from?: string | undefined;
  /** Lets a later process go on with a blob; `release` is called when this one is done with it. */
  readonly memory?: (digest: Digest) => (UploadMemory & { release(): void }) | undefined;
  readonly onProgress?: ((event: SendProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Blobs that are sent at the same time. */
const PARALLEL = 3;

/** @param documents the root last; it gets the reference's tag @throws LayerfsError as {@link Registry} */
export async function sendBundle(
  registry: Registry,
  reference: RegistryReference,
  documents: readonly BundleDocument[],
  { content, isHere, from, memory, onProgress, signal }: SendOptions,
): Promise<SendResult> {
  const blobs = new Map<Digest, Descriptor>();
  for (const document of documents) {
    for (const blob of document.blobs) {
      // Registries take manifests without those: whoever runs the image gets them elsewhere.
      if (!isForeignLayerType(blob.mediaType) || isHere(blob.digest)) blobs.set(blob.digest, blob);
    }
  }
  const counts = { exists: 0, mounted: 0, uploaded: 0 };
  let bytes = 0;
  await inParallel([...blobs.values()].entries(), PARALLEL, signal, async ([i, blob], signal) => {
    const { digest, size } = blob;
    const tell = (state: SendProgress['state'], done: number): void =>
      onProgress?.({ kind: 'layer', index: i + 1, of: blobs.size, digest, done, total: size, state });
    const kept = memory?.(digest);
    try {
      const how = await registry.uploadBlob(reference, blob, (offset) => content(blob, offset, signal), {
        from,
        memory: kept,
        signal,
        onProgress: (done) => tell('sending', done),
      });
      counts[how]++;
      if (how === 'uploaded') bytes += size;
      tell(how === 'uploaded' ? 'done' : how, size);
    } finally {
      kept?.release();
    }
  });
  const { host, repository, tag } = reference;
  for (const [i, { descriptor, bytes }] of documents.entries()) {
    const isRoot = i === documents.length - 1 && tag !== undefined;
    const target = { host, repository, ...(isRoot ? { tag } : { digest: descriptor.digest }) };
    await registry.putManifest(target, { ...descriptor, bytes }, { signal });
  }
  const { exists, mounted, uploaded } = counts;
  return { uploaded, mounted, existing: exists, bytes };
}
