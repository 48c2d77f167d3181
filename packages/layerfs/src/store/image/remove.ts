/** Removal: first the records, in one transaction, then the files that nothing names any more. */
import { readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest, DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import { isErrno } from '../errors.js';
import { sweepLocked } from '../import/sweep.js';
import type { ImageRecord } from '../meta.js';
import { ObjectList } from '../object-list.js';
import { namesOf } from './info.js';
import type { FoundImage } from './lookup.js';
import { readPins, type Pin } from './pins.js';

/** What a removal did. */
export interface RemoveResult {
  readonly untagged: readonly string[];
  /** Manifest digests of images that are gone. */
  readonly deleted: readonly Digest[];
  readonly freedBytes: number;
  readonly freedObjects: number;
  /** Mount points whose layers are kept until they are unmounted and `gc` runs. */
  readonly pinned: readonly string[];
  /** Names of snapshots whose layers are kept until they are removed. */
  readonly snapshots: readonly string[];
}

/** What a collection freed. Bytes of object content. */
export interface GcResult {
  readonly objects: number;
  readonly bytes: number;
  readonly layers: number;
  /** Manifest digests of images without a name. */
  readonly images: readonly Digest[];
  readonly pinned: readonly string[];
}

/**
 * Takes a name away, and with its last name the image. The caller holds the store's exclusive lock.
 * @throws LayerfsError failed-precondition when it is mounted, has snapshots, or has several names and was given by ID,
 * unless `force`
 */
export function removeImage(context: StoreContext, found: FoundImage, force: boolean): RemoveResult {
  const { meta } = context;
  const { record, name } = found;
  sweepLocked(context);
  const names = namesOf(meta, record.digest);
  if (name !== undefined && names.length > 1) {
    meta.transaction((writer) => writer.removeName(name));
    return { untagged: [name], deleted: [], freedBytes: 0, freedObjects: 0, pinned: [], snapshots: [] };
  }
  if (names.length > 1 && !force) {
    throw new LayerfsError(
      'failed-precondition',
      `the image has ${names.length} names (${names.join(', ')}): remove those, or force it`,
    );
  }
  const pins = readPins(context.paths);
  const mounted = pins.filter(({ image }) => image === record.digest).map(({ mountpoint }) => mountpoint);
  if (mounted.length > 0 && !force) {
    throw new LayerfsError(
      'failed-precondition',
      `${name ?? record.digest} is mounted at ${mounted.join(', ')}: unmount it first, or force it`,
    );
  }
  const snapshots = snapshotsOf(context, record.digest);
  if (snapshots.length > 0 && !force) {
    throw new LayerfsError(
      'failed-precondition',
      `${name ?? record.digest} has snapshots (${snapshots.join(', ')}): remove them first, or force it`,
    );
  }
  meta.transaction((writer) => {
    for (const each of names) writer.removeName(each);
    writer.removeImage(record.digest);
  });
  const freed = collect(context, pins);
  return {
    untagged: names,
    deleted: [record.digest],
    freedBytes: freed.bytes,
    freedObjects: freed.objects,
    pinned: freed.pinned,
    snapshots,
  };
}

/** Names of the snapshots that were made of an image. */
function snapshotsOf({ meta }: StoreContext, image: Digest): string[] {
  return meta
    .snapshots()
    .filter(({ snapshot }) => snapshot.image.digest === image)
    .map(({ name }) => name);
}

/** Frees what nothing refers to: images without a name, layers without an image. The caller holds the exclusive lock. */
export function collectGarbage(context: StoreContext): GcResult {
  const { meta, paths } = context;
  sweepLocked(context);
  const pins = readPins(paths);
  const named = new Set(meta.names().map(({ digest }) => digest));
  const inUse = new Set<string>([
    ...pins.map(({ image }) => image),
    ...meta.snapshots().map(({ snapshot }) => snapshot.image.digest),
  ]);
  const images = meta.images().filter(({ digest }) => !named.has(digest) && !inUse.has(digest));
  meta.transaction((writer) => {
    for (const { digest } of images) writer.removeImage(digest);
  });
  return { ...collect(context, pins), images: images.map(({ digest }) => digest) };
}

/** Removes layers, chains and blobs that no image, snapshot or mount needs. The caller holds the exclusive lock. */
export function collect(context: StoreContext, pins: readonly Pin[]): Omit<GcResult, 'images'> {
  const { meta, paths } = context;
  const images = meta.neededImages();
  const used = new Set<string>([...images.flatMap(layersOf), ...pins.flatMap(({ layers }) => layers)]);
  const blobs = new Set<string>(images.flatMap(({ digest, config }) => [digest, config]));
  let objects = 0;
  let bytes = 0;
  let layers = 0;
  for (const { diffID } of meta.layers()) {
    if (used.has(diffID)) continue;
    const list = ObjectList.read(join(paths.layer(diffID), 'objects'), context.xxhash);
    const free = meta.transaction((writer) => {
      for (const { digest, blob } of meta.blobs()) if (blob.diffID === diffID) writer.removeBlob(digest);
      return writer.removeLayer(diffID, list);
    });
    layers++;
    for (const index of free) {
      rmSync(paths.object(list.hex(index)), { force: true });
      objects++;
      bytes += list.size(index);
    }
    rmSync(paths.layer(diffID), { recursive: true, force: true });
  }
  removeUnused(context, images, pins, blobs);
  const kept = pins.filter((pin) => !images.some(({ digest }) => digest === pin.image));
  return { objects, bytes, layers, pinned: kept.map(({ mountpoint }) => mountpoint) };
}

/** Chains and blobs without an image, empty folders of objects. */
function removeUnused(
  { meta, paths }: StoreContext,
  images: readonly ImageRecord[],
  pins: readonly Pin[],
  blobs: ReadonlySet<string>,
): void {
  const chains = new Set<string>([...images.map(({ chainID }) => chainID), ...pins.map(({ chainID }) => chainID)]);
  for (const name of readdirSync(paths.chains)) {
    if (!chains.has(`sha256:${name}`)) rmSync(join(paths.chains, name), { recursive: true, force: true });
  }
  for (const name of readdirSync(paths.blobs)) {
    const digest = `sha256:${name}` as Digest;
    if (!blobs.has(digest) && meta.blob(digest) === undefined) rmSync(paths.blob(digest), { force: true });
  }
  for (const name of readdirSync(paths.objects)) {
    try {
      rmdirSync(join(paths.objects, name));
    } catch (error) {
      if (!isErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    }
  }
}

/** Compressed layer blobs that were given up. */
export interface DropResult {
  readonly blobs: number;
  readonly bytes: number;
}

/**
 * Removes compressed layer blobs, of one image or of all: their content stays, as objects and tar record. Blobs that other
 * images use too are removed with them. The caller holds the exclusive lock.
 */
export function dropBlobs({ meta, paths }: StoreContext, record: ImageRecord | undefined): DropResult {
  const digests =
    record === undefined ? meta.blobs().map(({ digest }) => digest) : record.layers.map(({ digest }) => digest);
  let blobs = 0;
  let bytes = 0;
  for (const digest of new Set(digests)) {
    const size = statSync(paths.blob(digest), { throwIfNoEntry: false })?.size;
    if (size === undefined || meta.blob(digest) === undefined) continue;
    rmSync(paths.blob(digest));
    blobs++;
    bytes += size;
  }
  return { blobs, bytes };
}

function layersOf({ layers }: ImageRecord): DiffID[] {
  return layers.map(({ diffID }) => diffID);
}
