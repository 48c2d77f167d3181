/**
 * All documents below a manifest or index, whatever they describe: images, and what build tools put beside them. As they came, so that
 * all digests stay what they are.
 */
import type { Digest } from '../digest.js';
import { LayerfsError } from '../error.js';
import { parseDescriptor, type Descriptor } from './descriptor.js';
import { MAX_INDEX_DEPTH, MAX_MANIFESTS, parseIndex } from './image-index.js';
import { parseDocument, shown } from './json.js';
import { checkSchema, MAX_LAYERS } from './manifest.js';
import { isIndexType, isManifestType } from './media-types.js';

/** Most bytes that the documents of one index may have together: they are in memory. */
export const MAX_BUNDLE = 64 << 20;

/** A manifest or index, with what a registry must have before it takes it. */
export interface BundleDocument {
  readonly descriptor: Pick<Descriptor, 'digest' | 'mediaType' | 'size'>;
  readonly bytes: Uint8Array;
  /** Config and layers of a manifest; none of an index. */
  readonly blobs: readonly Descriptor[];
}

/** Gives a document, whose size and digest were verified. `referrer` names in messages who refers to it. */
export type ReadDocument = (descriptor: Descriptor, referrer: string) => Promise<Uint8Array>;

/**
 * Reads a manifest or index and all below it. What an index refers to comes before it; the root is the last.
 * @throws LayerfsError invalid-argument for indexes that are too deep, too many, or lead back to themselves; resource-exhausted;
 * unimplemented for what is neither manifest nor index
 */
export async function readBundle(root: Descriptor, referrer: string, read: ReadDocument): Promise<BundleDocument[]> {
  const documents: BundleDocument[] = [];
  const done = new Set<Digest>();
  let total = 0;
  const visit = async (entry: Descriptor, from: string, above: readonly Digest[]): Promise<void> => {
    const { digest, mediaType, size } = entry;
    if (above.includes(digest)) throw new LayerfsError('invalid-argument', `index ${digest} leads back to itself`);
    if (done.has(digest)) return;
    if (!isIndexType(mediaType) && !isManifestType(mediaType)) {
      throw new LayerfsError('unimplemented', `${from} lists ${digest} with media type ${shown(mediaType)}`);
    }
    if (above.length > MAX_INDEX_DEPTH) {
      throw new LayerfsError('invalid-argument', `index ${digest}: indexes nested more than ${MAX_INDEX_DEPTH} deep`);
    }
    total += size;
    if (total > MAX_BUNDLE) {
      throw new LayerfsError('resource-exhausted', `its documents have more than ${MAX_BUNDLE} bytes together`);
    }
    const bytes = await read(entry, from);
    if (isIndexType(mediaType)) {
      const what = `index ${digest}`;
      for (const below of parseIndex(bytes, what).manifests) await visit(below, what, [...above, digest]);
      documents.push({ descriptor: { digest, mediaType, size }, bytes, blobs: [] });
    } else {
      documents.push({ descriptor: { digest, mediaType, size }, bytes, blobs: blobsOf(bytes, digest) });
    }
    done.add(digest);
    if (done.size > MAX_MANIFESTS) {
      throw new LayerfsError('invalid-argument', `indexes with more than ${MAX_MANIFESTS} entries`);
    }
  };
  await visit(root, referrer, []);
  return documents;
}

function blobsOf(bytes: Uint8Array, digest: Digest): Descriptor[] {
  const fields = parseDocument(bytes, `manifest ${digest}`);
  checkSchema(fields);
  const config = fields.object('config');
  const layers = fields.objects('layers', MAX_LAYERS) ?? [];
  return [...(config === undefined ? [] : [config]), ...layers].map((entry) => parseDescriptor(entry));
}
