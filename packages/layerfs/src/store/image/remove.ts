/** Removal of images, and of blobs that can be made again. */
import { rmSync, statSync } from 'node:fs';
import type { Digest, DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import { isImageReason, markReachable, reasonText, type Reason } from '../gc/marks.js';
import { collectNow, type GcProgress } from '../gc/gc.js';
import type { ImageRecord } from '../meta.js';
import { namesOf } from './info.js';
import { findImage, type FoundImage } from './lookup.js';
import { readPins } from './pins.js';

/** Options of a removal. */
export interface RemoveOptions {
  /** Also when it is mounted, has snapshots or leases, or, given by ID, several names. */
  readonly force?: boolean;
  readonly onProgress?: (event: GcProgress) => void;
  readonly signal?: AbortSignal;
}

/** What a removal did. */
export interface RemoveResult {
  readonly untagged: readonly string[];
  /** Manifest digests of images that are gone. */
  readonly deleted: readonly Digest[];
  /** Of the content of files. */
  readonly freedBytes: number;
  readonly freedObjects: number;
  /** Mount points whose layers are kept until they are unmounted and `gc` runs. */
  readonly pinned: readonly string[];
  /** Names of snapshots whose layers are kept until they are removed. */
  readonly snapshots: readonly string[];
  /** IDs of leases whose layers are kept until they end and `gc` runs. */
  readonly leases: readonly string[];
}

/**
 * Takes a name away, and with its last name the image and what only it needs.
 * @throws LayerfsError failed-precondition when it is mounted, has snapshots, is leased, or has several names and was given
 * by ID, unless `force`
 */
export async function removeImage(context: StoreContext, ref: string, options: RemoveOptions): Promise<RemoveResult> {
  const { meta, lock } = context;
  const taken = await lock.exclusive(options.signal, () =>
    takeAway(context, findImage(meta, ref), options.force ?? false),
  );
  if (taken.deleted.length === 0) return { ...taken, freedBytes: 0, freedObjects: 0 };
  const { objects } = await collectNow(context, options);
  return { ...taken, freedBytes: objects.contentBytes, freedObjects: objects.count };
}

type Taken = Omit<RemoveResult, 'freedBytes' | 'freedObjects'>;

/** The records. The caller holds the store's lock exclusively. */
function takeAway(context: StoreContext, { record, name }: FoundImage, force: boolean): Taken {
  const { meta } = context;
  const names = namesOf(meta, record.digest);
  if (name !== undefined && names.length > 1) {
    meta.transaction((writer) => writer.removeName(name));
    return { untagged: [name], deleted: [], pinned: [], snapshots: [], leases: [] };
  }
  if (names.length > 1 && !force) {
    throw new LayerfsError(
      'failed-precondition',
      `the image has ${names.length} names (${names.join(', ')}): remove those, or force it`,
    );
  }
  const needed = (markReachable(context).images.get(record.digest) ?? []).filter(isImageReason);
  if (needed.length > 0 && !force) throw inUse(name ?? record.digest, needed);
  removeRecords(context, record.digest, names);
  return {
    untagged: names,
    deleted: [record.digest],
    pinned: needed.flatMap((reason) => (reason.by === 'mount' ? [reason.mountpoint] : [])),
    snapshots: needed.flatMap((reason) => (reason.by === 'snapshot' ? [reason.snapshot] : [])),
    leases: needed.flatMap((reason) => (reason.by === 'lease' ? [reason.lease] : [])),
  };
}

/** Takes an image's record and names away. The caller holds the store's lock exclusively. */
export function removeRecords({ meta }: StoreContext, digest: Digest, names: readonly string[]): void {
  meta.transaction((writer) => {
    for (const each of names) writer.removeName(each);
    writer.removeImage(digest);
    writer.setUsed(digest, undefined);
  });
}

/** Who uses it, the kind first that has to go first. */
function inUse(image: string, reasons: readonly Reason[]): LayerfsError {
  const list = (items: readonly string[]): string => items.join(', ');
  const mounts = reasons.flatMap((reason) => (reason.by === 'mount' ? [reason.mountpoint] : []));
  const snapshots = reasons.flatMap((reason) => (reason.by === 'snapshot' ? [reason.snapshot] : []));
  const others = reasons.filter(({ by }) => by !== 'mount' && by !== 'snapshot').map((reason) => reasonText(reason));
  const [is, first] =
    mounts.length > 0
      ? [`is mounted at ${list(mounts)}`, 'unmount it']
      : snapshots.length > 0
        ? [`has snapshots (${list(snapshots)})`, 'remove them']
        : [`is in use (${list(others)})`, 'wait for that'];
  return new LayerfsError('failed-precondition', `${image} ${is}: ${first} first, or force it`);
}

/** Compressed layer blobs that were given up. */
export interface DropResult {
  readonly blobs: number;
  readonly bytes: number;
}

/**
 * Removes compressed layer blobs, of one image or of all: their content stays, as objects and tar record. Blobs that other
 * images use too are removed with them; those that somebody is reading stay. The caller holds the store's lock exclusively.
 * @param dry only tells
 */
export function dropBlobs(context: StoreContext, record: ImageRecord | undefined, dry: boolean): DropResult {
  const { meta, paths } = context;
  const digests =
    record === undefined ? meta.blobs().map(({ digest }) => digest) : record.layers.map(({ digest }) => digest);
  const { layers } = markReachable(context);
  const isRead = (diffID: DiffID): boolean => layers.get(diffID)?.some(({ by }) => by === 'work') === true;
  let blobs = 0;
  let bytes = 0;
  for (const digest of new Set(digests)) {
    const known = meta.blob(digest);
    const stats = statSync(paths.blob(digest), { throwIfNoEntry: false });
    if (stats === undefined || known === undefined || isRead(known.diffID)) continue;
    if (!dry) rmSync(paths.blob(digest));
    blobs++;
    bytes += stats.blocks * 512;
  }
  return { blobs, bytes };
}

/** Mount points of an image that has no record any more. */
export function mountsWithoutImage({ meta, paths }: StoreContext): string[] {
  return readPins(paths)
    .filter(({ image }) => meta.image(image as Digest) === undefined)
    .map(({ mountpoint }) => mountpoint);
}
