/** Copy: from one registry to another, without keeping anything; what the store has is not fetched. */
import type { Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { readBundle, type ReadDocument } from '../../core/oci/bundle.js';
import type { Descriptor } from '../../core/oci/descriptor.js';
import { formatRegistryReference, parseRegistryReference, type RegistryReference } from '../../registry/address.js';
import { Registry } from '../../registry/registry.js';
import { sendBundle, type SendProgress, type SendResult } from '../../registry/send.js';
import type { StoreContext } from '../context.js';
import { hasBlob } from '../image/info.js';
import { choose } from '../source/choose.js';
import { registryDocuments } from '../source/registry.js';
import { layerContent } from './export.js';
import { KeptUpload } from './kept-upload.js';
import { neighbour, skip } from './push.js';

/** Options of a copy. */
export interface CopyOptions {
  /** `os/architecture[/variant]`, which image of an index; this machine's by default. */
  readonly platform?: string;
  /** The index itself, and all below it. */
  readonly allPlatforms?: boolean;
  /** The client for both; one with the system's settings by default. */
  readonly registry?: Registry;
  readonly onProgress?: (event: SendProgress) => void;
  readonly signal?: AbortSignal;
}

/** What a copy did. */
export interface CopyResult extends SendResult {
  /** Of the manifest or index: the same there as here. */
  readonly digest: Digest;
  /** Bytes of blobs that were fetched. */
  readonly fetched: number;
}

/** Copies an image, or an index with all below it. @throws LayerfsError */
export async function copyImage(
  context: StoreContext,
  from: string,
  to: string,
  options: CopyOptions,
): Promise<CopyResult> {
  const source = parseRegistryReference(from);
  const { tag = 'latest', ...rest } = parseRegistryReference(to);
  const target: RegistryReference = rest.digest === undefined ? { ...rest, tag } : rest;
  const { platform, allPlatforms = false, signal } = options;
  if (allPlatforms && platform !== undefined) {
    throw new LayerfsError('invalid-argument', 'one platform, or all: not both');
  }
  const registry = options.registry ?? new Registry();
  let fetched = 0;
  const onFetched = (bytes: number): void => void (fetched += bytes);
  try {
    const top = await registry.manifest(source, { signal });
    const documents = registryDocuments(context, registry, source, { onFetched, signal }, top);
    const root: Descriptor = { mediaType: top.mediaType, digest: top.digest, size: top.bytes.length };
    const label = formatRegistryReference(source);
    const selection = platform === undefined ? {} : { platform };
    const chosen = allPlatforms ? root : (await choose(documents, [root], label, label, selection, [])).descriptor;
    const read: ReadDocument = (descriptor, referrer) => documents.read(descriptor, referrer);
    const bundle = await readBundle(chosen, label, read);
    if (target.digest !== undefined && target.digest !== chosen.digest) {
      throw new LayerfsError('invalid-argument', `${label} has digest ${chosen.digest}, not ${target.digest}`);
    }
    const sent = await sendBundle(registry, target, bundle, {
      content: (blob, offset, signal) =>
        storedContent(context, blob.digest, offset, signal) ??
        registry.blob(source, blob, { offset, onFetched, signal }),
      isHere: (digest) => isStored(context, digest),
      from: neighbour(source, target),
      memory: (digest) => KeptUpload.take(context.paths.ingest, target, digest),
      onProgress: options.onProgress,
      signal,
    });
    return { digest: chosen.digest, fetched, ...sent };
  } finally {
    if (options.registry === undefined) registry.close();
  }
}

/** A layer's blob that the store has. */
function storedContent(
  context: StoreContext,
  digest: Digest,
  offset: number,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> | undefined {
  const known = context.meta.blob(digest);
  if (known === undefined || !isStored(context, digest)) return undefined;
  return skip(layerContent(context, { digest, ...known }, signal), offset);
}

function isStored(context: StoreContext, digest: Digest): boolean {
  return context.meta.blob(digest) !== undefined && hasBlob(context, digest);
}
