/** Writable snapshots of images: what is known of them. */
import { join } from 'node:path';
import type { ChainID, Digest, DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { shown } from '../../core/oci/json.js';
import type { StoreContext } from '../context.js';
import { readPins, type Pin } from '../image/pins.js';
import type { Meta, SnapshotRecord } from '../meta.js';
import type { StorePaths } from '../paths.js';

/** What a snapshot may be called. */
export const SNAPSHOT_NAME = /^[A-Za-z0-9_.-]{1,128}$/;

/** A writable snapshot of an image. */
export interface Snapshot {
  readonly name: string;
  /** Names its folder: random hex digits. */
  readonly id: string;
  /** The image as it was named. */
  readonly ref: string;
  /** Manifest digest of the image. It may have been removed: what the snapshot needs of it is still there. */
  readonly image: Digest;
  readonly chainID: ChainID;
  /** Layers of the image, base first. */
  readonly diffIDs: readonly DiffID[];
  /** ISO 8601. */
  readonly created: string;
  /** What was changed, as kernel overlayfs keeps it. */
  readonly upper: string;
  /** Beside it, on the same file system: for whoever writes to it. */
  readonly work: string;
  /** Where it is mounted. */
  readonly mountpoints: readonly string[];
}

/** Makes that nobody writes to an upper folder until what it returns is called; both may be done at any time. */
export type Freeze = () => Promise<() => Promise<void>>;

/** All snapshots, sorted by name. */
export function listSnapshots({ meta, paths }: StoreContext): Snapshot[] {
  const snapshots = meta.snapshots();
  const pins = snapshots.length === 0 ? [] : readPins(paths);
  return snapshots.map(({ name, snapshot }) => describeSnapshot(paths, name, snapshot, pins));
}

/** One snapshot. @throws LayerfsError not-found saying what there is */
export function findSnapshot({ meta, paths }: StoreContext, name: string): Snapshot {
  return describeSnapshot(paths, name, snapshotRecord(meta, name), readPins(paths));
}

/** The record of a snapshot. @throws LayerfsError not-found saying what there is */
export function snapshotRecord(meta: Meta, name: string): SnapshotRecord {
  // A name that none can have is not looked for.
  const record = SNAPSHOT_NAME.test(name) ? meta.snapshot(name) : undefined;
  if (record !== undefined) return record;
  const names = meta.snapshots().map((entry) => entry.name);
  const some = `${names.slice(0, 5).join(', ')}${names.length > 5 ? `, and ${names.length - 5} more` : ''}`;
  const there = names.length === 0 ? 'the store holds none' : `there is ${some}`;
  throw new LayerfsError('not-found', `no snapshot ${shown(name).replaceAll('"', '')} in the store; ${there}`);
}

/** @param pins of all mounts */
export function describeSnapshot(
  paths: StorePaths,
  name: string,
  snapshot: SnapshotRecord,
  pins: readonly Pin[],
): Snapshot {
  const { id, ref, created, image } = snapshot;
  const folder = paths.snapshot(id);
  return {
    name,
    id,
    ref,
    image: image.digest,
    chainID: image.chainID,
    diffIDs: image.layers.map(({ diffID }) => diffID),
    created,
    upper: join(folder, 'upper'),
    work: join(folder, 'work'),
    mountpoints: mountpointsOf(pins, name),
  };
}

function mountpointsOf(pins: readonly Pin[], name: string): string[] {
  return pins.filter(({ snapshot }) => snapshot === name).map(({ mountpoint }) => mountpoint);
}
