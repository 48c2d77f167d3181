/** What must stay, and because of what: names, snapshots, mounts, and all that these need. */
import type { ChainID, Digest, DiffID } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import { readPins } from '../image/pins.js';
import type { ImageRecord } from '../meta.js';

/** Why something stays. */
export type Reason =
  /** A name stands for it. */
  | { readonly by: 'name'; readonly name: string }
  /** An image that stays consists of it. */
  | { readonly by: 'image'; readonly image: Digest }
  /** A snapshot was made of it. */
  | { readonly by: 'snapshot'; readonly snapshot: string }
  /** It is mounted. */
  | { readonly by: 'mount'; readonly mountpoint: string };

/** Everything that must stay, but for objects: those are what the layers that stay list. */
export interface Marks {
  /** By manifest digest: images whose record stays. */
  readonly images: ReadonlyMap<Digest, readonly Reason[]>;
  readonly layers: ReadonlyMap<DiffID, readonly Reason[]>;
  readonly chains: ReadonlyMap<ChainID, readonly Reason[]>;
  /** Manifests and configs. A layer's blob belongs to the layer. */
  readonly documents: ReadonlyMap<Digest, readonly Reason[]>;
}

/**
 * Marks what must stay. It reads records and lock files, no object lists, so it may be done with the store's lock held.
 * @throws LayerfsError failed-precondition when a living mount's entry cannot be read: then nothing may be removed
 */
export function markReachable({ meta, paths }: StoreContext): Marks {
  const images = new Map<Digest, Reason[]>();
  const layers = new Map<DiffID, Reason[]>();
  const chains = new Map<ChainID, Reason[]>();
  const documents = new Map<Digest, Reason[]>();
  const parts = (record: ImageRecord, reason: Reason): void => {
    for (const diffID of new Set(record.layers.map((layer) => layer.diffID))) add(layers, diffID, reason);
    add(chains, record.chainID, reason);
    add(documents, record.digest, reason);
    add(documents, record.config, reason);
  };
  for (const { name, digest } of meta.names()) add(images, digest, { by: 'name', name });
  for (const { name, snapshot } of meta.snapshots()) {
    const reason: Reason = { by: 'snapshot', snapshot: name };
    add(images, snapshot.image.digest, reason);
    // Also when the image itself was removed by force.
    parts(snapshot.image, reason);
  }
  for (const pin of readPins(paths)) {
    const reason: Reason = { by: 'mount', mountpoint: pin.mountpoint };
    add(images, pin.image as Digest, reason);
    for (const diffID of pin.layers) add(layers, diffID as DiffID, reason);
    add(chains, pin.chainID as ChainID, reason);
  }
  for (const record of meta.images()) {
    if (images.has(record.digest)) parts(record, { by: 'image', image: record.digest });
  }
  return { images, layers, chains, documents };
}

function add<K>(map: Map<K, Reason[]>, key: K, reason: Reason): void {
  const reasons = map.get(key);
  if (reasons === undefined) map.set(key, [reason]);
  else reasons.push(reason);
}
