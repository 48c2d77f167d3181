/** What must stay, and because of what: names, snapshots, mounts, leases and work under way, and all that these need. */
import { digestHex, type ChainID, type Digest, type DiffID } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import { readPins } from '../image/pins.js';
import type { ImageRecord } from '../meta.js';
import { readSessions } from '../session.js';
import { livingLeases } from './leases.js';

/** Why something stays. */
export type Reason =
  /** A name stands for it. */
  | { readonly by: 'name'; readonly name: string }
  /** An image that stays consists of it. */
  | { readonly by: 'image'; readonly image: Digest }
  /** A snapshot was made of it. */
  | { readonly by: 'snapshot'; readonly snapshot: string }
  /** It is mounted. */
  | { readonly by: 'mount'; readonly mountpoint: string }
  /** A lease keeps it. */
  | { readonly by: 'lease'; readonly lease: string; readonly label: string; readonly expires: string }
  /** Work under way in a process needs it: an import, an export, a checkout, a commit. */
  | { readonly by: 'work'; readonly doing: string; readonly pid: number };

/** Whether a reason is somebody who uses an image: the image is not to be taken away under them. */
export function isImageReason(reason: Reason): boolean {
  return reason.by !== 'name' && reason.by !== 'image';
}

/** A reason in words. */
export function reasonText(reason: Reason): string {
  if (reason.by === 'name') return `named ${reason.name}`;
  if (reason.by === 'image') return `part of image ${digestHex(reason.image).slice(0, 12)}`;
  if (reason.by === 'snapshot') return `snapshot ${reason.snapshot}`;
  if (reason.by === 'mount') return `mounted at ${reason.mountpoint}`;
  if (reason.by === 'work') return `${reason.doing}, process ${reason.pid}`;
  return `lease ${reason.lease}${reason.label === '' ? '' : ` (${reason.label})`} until ${reason.expires}`;
}

/** Everything that must stay, but for objects: those are what the layers that stay list. */
export interface Marks {
  /** By manifest digest: images that a name stands for, or that somebody uses. */
  readonly images: ReadonlyMap<Digest, readonly Reason[]>;
  readonly layers: ReadonlyMap<DiffID, readonly Reason[]>;
  readonly chains: ReadonlyMap<ChainID, readonly Reason[]>;
  /** Manifests and configs. A layer's blob belongs to the layer. */
  readonly documents: ReadonlyMap<Digest, readonly Reason[]>;
  /** By name: snapshots that somebody needs. The others stay too, until they are removed. */
  readonly snapshots: ReadonlyMap<string, readonly Reason[]>;
}

/**
 * Marks what must stay. Images that have a record do, also those that no name stands for: whoever removes those, removes the
 * record first. It reads records and lock files, no object lists, so it may be done with the store's lock held.
 * @param without digests of images to be left out, as if they had been removed
 * @throws LayerfsError failed-precondition when a living mount's or session's entry cannot be read: then nothing may be removed
 */
export function markReachable(context: StoreContext, without: ReadonlySet<Digest> = NONE): Marks {
  return context.meta.reading(() => mark(context, without));
}

function mark(context: StoreContext, without: ReadonlySet<Digest>): Marks {
  const { meta, paths } = context;
  const images = new Map<Digest, Reason[]>();
  const layers = new Map<DiffID, Reason[]>();
  const chains = new Map<ChainID, Reason[]>();
  const documents = new Map<Digest, Reason[]>();
  const snapshots = new Map<string, Reason[]>();
  const parts = (record: ImageRecord, reason: Reason): void => {
    for (const diffID of new Set(record.layers.map((layer) => layer.diffID))) add(layers, diffID, reason);
    add(chains, record.chainID, reason);
    add(documents, record.digest, reason);
    add(documents, record.config, reason);
    for (const { documents: more } of record.indexes ?? [])
      for (const { digest } of more) add(documents, digest, reason);
  };
  for (const { name, digest } of meta.names()) if (!without.has(digest)) add(images, digest, { by: 'name', name });
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
    if (pin.snapshot !== undefined) add(snapshots, pin.snapshot, reason);
  }
  for (const { id, lease } of livingLeases(context)) {
    const reason: Reason = { by: 'lease', lease: id, label: lease.label, expires: lease.expires };
    for (const record of lease.images) {
      add(images, record.digest, reason);
      parts(record, reason);
    }
    for (const diffID of lease.layers) add(layers, diffID, reason);
    for (const name of lease.snapshots) add(snapshots, name, reason);
  }
  for (const session of readSessions(paths).live) {
    const reason: Reason = { by: 'work', doing: session.doing, pid: session.pid };
    for (const record of session.images) {
      add(images, record.digest, reason);
      parts(record, reason);
    }
    for (const diffID of session.layers) add(layers, diffID, reason);
    for (const name of session.snapshots) add(snapshots, name, reason);
  }
  for (const record of meta.images()) {
    if (!without.has(record.digest)) parts(record, { by: 'image', image: record.digest });
  }
  return { images, layers, chains, documents, snapshots };
}

const NONE: ReadonlySet<Digest> = new Set();

function add<K>(map: Map<K, Reason[]>, key: K, reason: Reason): void {
  const reasons = map.get(key);
  if (reasons === undefined) map.set(key, [reason]);
  else reasons.push(reason);
}
