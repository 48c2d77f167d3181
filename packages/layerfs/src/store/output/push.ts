/** Push: an image to a registry, with the digests that it came with. */
import { digestHex, type Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { parseRegistryReference } from '../../registry/address.js';
import { Registry } from '../../registry/registry.js';
import type { StoreContext } from '../context.js';
import { blobPath } from '../source/blobs.js';
import type { FoundImage } from '../image/lookup.js';
import { layoutOf } from './export.js';

/** Options of a push. */
export interface PushOptions {
  /** Where to; the image's own name without it. */
  readonly to?: string;
  /** The client to push with; one with the system's settings by default. */
  readonly registry?: Registry;
  readonly signal?: AbortSignal;
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
  const manifest = blobPath(result.digest);
  const registry = options.registry ?? new Registry();
  const counts = { exists: 0, mounted: 0, uploaded: 0 };
  let bytes = 0;
  try {
    for (const { path, size, content } of files) {
      const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
      if (hex === undefined || path === manifest) continue;
      const digest = `sha256:${hex}` as Digest;
      const how = await registry.uploadBlob(reference, { digest, size }, content, { from, signal });
      counts[how]++;
      if (how === 'uploaded') bytes += size;
    }
    const document = files.find(({ path }) => path === manifest);
    if (document === undefined) throw new LayerfsError('internal', `no manifest ${digestHex(result.digest)}`);
    const parts: Uint8Array[] = [];
    for await (const piece of document.content()) parts.push(piece);
    await registry.putManifest(
      reference,
      { bytes: Buffer.concat(parts), digest: result.digest, mediaType },
      { signal },
    );
  } finally {
    if (options.registry === undefined) registry.close();
  }
  const { exists, mounted, uploaded } = counts;
  return { digest: result.digest, rebuilt: result.rebuilt, uploaded, mounted, existing: exists, bytes };
}
