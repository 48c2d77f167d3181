/** Writable snapshots of images: what is known of them, and how they come and go. */
import { randomBytes } from 'node:crypto';
import { closeSync, fchmodSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { AT, ErrnoError, fchownat, setXattr, utimensat } from '@layerfs/linux';
import type { ChainID, Digest, DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { shown } from '../../core/oci/json.js';
import { isOverlayXattr } from '../../core/overlay/format.js';
import { ROOT } from '../../core/tree/format.js';
import type { Tree } from '../../core/tree/tree.js';
import type { StoreContext } from '../context.js';
import { findImage } from '../image/lookup.js';
import { readPins, type Pin } from '../image/pins.js';
import type { ImageRecord, Meta, SnapshotRecord } from '../meta.js';
import type { StorePaths } from '../paths.js';
import { ensureChain, openTree } from '../trees.js';
import { removeFolder } from './remove-folder.js';

const NAME = /^[A-Za-z0-9_.-]{1,128}$/;

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

/**
 * Makes a snapshot, whose upper folder is empty and has the attributes of the image's root. The caller holds the store's
 * shared lock.
 * @throws LayerfsError invalid-argument for a bad name, already-exists, not-found
 */
export function createSnapshot(context: StoreContext, ref: string, name: string | undefined): Snapshot {
  const { meta, paths } = context;
  const found = findImage(meta, ref);
  const { record } = found;
  const chosen = name === undefined ? freeName(meta, found.name) : checkName(name);
  if (meta.snapshot(chosen) !== undefined) throw taken(chosen);
  const id = randomBytes(8).toString('hex');
  const snapshot: SnapshotRecord = {
    id,
    ref: found.name ?? record.digest,
    created: new Date().toISOString(),
    image: record,
  };
  const folder = paths.snapshot(id);
  let recorded = false;
  mkdirSync(folder, { mode: 0o700 });
  try {
    makeFolders(context, folder, record);
    // Durable before the transaction that names it.
    for (const path of [folder, paths.snapshots]) syncFolder(path);
    meta.transaction((writer) => {
      if (meta.snapshot(chosen) !== undefined) throw taken(chosen);
      writer.setSnapshot(chosen, snapshot);
    });
    recorded = true;
  } finally {
    if (!recorded) removeFolder(folder);
  }
  return describe(paths, chosen, snapshot, []);
}

/** All snapshots, sorted by name. */
export function listSnapshots({ meta, paths }: StoreContext): Snapshot[] {
  const snapshots = meta.snapshots();
  const pins = snapshots.length === 0 ? [] : readPins(paths);
  return snapshots.map(({ name, snapshot }) => describe(paths, name, snapshot, pins));
}

/** One snapshot. @throws LayerfsError not-found saying what there is */
export function findSnapshot({ meta, paths }: StoreContext, name: string): Snapshot {
  return describe(paths, name, snapshotRecord(meta, name), readPins(paths));
}

/** The record of a snapshot. @throws LayerfsError not-found saying what there is */
export function snapshotRecord(meta: Meta, name: string): SnapshotRecord {
  // A name that none can have is not looked for.
  const record = NAME.test(name) ? meta.snapshot(name) : undefined;
  if (record !== undefined) return record;
  const names = meta.snapshots().map((entry) => entry.name);
  const some = `${names.slice(0, 5).join(', ')}${names.length > 5 ? `, and ${names.length - 5} more` : ''}`;
  const there = names.length === 0 ? 'the store holds none' : `there is ${some}`;
  throw new LayerfsError('not-found', `no snapshot ${shown(name).replaceAll('"', '')} in the store; ${there}`);
}

/** Makes `upper` and `work`. */
function makeFolders(context: StoreContext, folder: string, { chainID, layers }: ImageRecord): void {
  const chain = ensureChain(
    context,
    chainID,
    layers.map(({ diffID }) => diffID),
  );
  mkdirSync(join(folder, 'work'), { mode: 0o700 });
  mkdirSync(join(folder, 'upper'), { mode: 0o700 });
  const { tree, unmap } = openTree(chain);
  const upper = openSync(join(folder, 'upper'), 'r');
  try {
    copyRoot(tree, upper);
    fsyncSync(upper);
  } finally {
    closeSync(upper);
    unmap();
  }
}

/** Gives the upper folder the attributes of the image's root, as far as this user may. */
function copyRoot(tree: Tree, fd: number): void {
  const attempt = (action: () => void): void => {
    try {
      action();
    } catch (error) {
      // Without root neither owners nor most attributes can be chosen, and not every file system takes them.
      if (!(error instanceof ErrnoError) || !['EPERM', 'EINVAL', 'EOPNOTSUPP', 'ENOTSUP'].includes(error.code))
        throw error;
    }
  };
  const nothing = new Uint8Array();
  attempt(() => fchownat(fd, nothing, tree.uid(ROOT), tree.gid(ROOT), AT.EMPTY_PATH | AT.SYMLINK_NOFOLLOW));
  for (const [name, value] of tree.xattrs(ROOT)) {
    // In an upper folder these would mean something else.
    if (!isOverlayXattr(name)) attempt(() => setXattr(fd, name, value));
  }
  fchmodSync(fd, tree.mode(ROOT) & 0o7777);
  const time = { sec: tree.mtimeSec(ROOT), nsec: tree.mtimeNsec(ROOT) };
  utimensat(fd, nothing, time, time, AT.EMPTY_PATH | AT.SYMLINK_NOFOLLOW);
}

function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function describe(paths: StorePaths, name: string, snapshot: SnapshotRecord, pins: readonly Pin[]): Snapshot {
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

function checkName(name: string): string {
  if (NAME.test(name)) return name;
  throw new LayerfsError(
    'invalid-argument',
    `not a name for a snapshot: ${shown(name)}: letters, digits, '_', '.' and '-', at most 128`,
  );
}

/** A name that nobody has, after the image's. */
function freeName(meta: Meta, image: string | undefined): string {
  const base = /([^/:]+)(?::[^/:]*)?$/.exec(image ?? '')?.[1] ?? 'snapshot';
  for (;;) {
    const name = `${base.slice(0, 100)}-${randomBytes(3).toString('hex')}`;
    if (meta.snapshot(name) === undefined) return name;
  }
}

function taken(name: string): LayerfsError {
  return new LayerfsError('already-exists', `there is a snapshot ${name} already`);
}
