/** How a writable snapshot of an image is made. */
import { randomBytes } from 'node:crypto';
import { closeSync, fchmodSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { AT, ErrnoError, fchownat, setXattr, utimensat } from '@layerfs/linux';
import { LayerfsError } from '../../core/error.js';
import { shown } from '../../core/oci/json.js';
import { isOverlayXattr } from '../../core/overlay/format.js';
import { ROOT } from '../../core/tree/format.js';
import type { Tree } from '../../core/tree/tree.js';
import { syncFolder } from '../../records/sync-folder.js';
import type { StoreContext } from '../context.js';
import { findImage } from '../image/lookup.js';
import type { ImageRecord, Meta, SnapshotRecord } from '../meta.js';
import { ensureChain, openTree } from '../trees.js';
import { removeFolder } from './remove-folder.js';
import { describeSnapshot, SNAPSHOT_NAME, type Snapshot } from './snapshot.js';

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
  return describeSnapshot(paths, chosen, snapshot, []);
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

function checkName(name: string): string {
  if (SNAPSHOT_NAME.test(name)) return name;
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
