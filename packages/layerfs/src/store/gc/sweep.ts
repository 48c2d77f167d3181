/** What processes that died left behind. */
import { closeSync, openSync, readdirSync, renameSync, rmdirSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import type { DiffID } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import { isErrno } from '../errors.js';
import { DOWNLOAD } from '../import/download.js';
import { UPLOAD } from '../output/kept-upload.js';
import { tryLockFile } from '../locks.js';
import type { StorePaths } from '../paths.js';
import { publishFolder } from '../publish.js';
import { readSessions, removeSession } from '../session.js';
import { hasTrash, trashedLayer, trashedLayers, trashRemoved } from './trash.js';

const HEX = /^[0-9a-f]{64}$/;
/** So long after the last byte a download or upload is waited for to be gone on with. */
const KEPT_DAYS = 7;

/**
 * Removes what importers that died left behind: their sessions, and what they had moved into place without getting as far
 * as to record it; and ends removals that were interrupted. Does nothing when there is nothing, or when somebody else does it.
 */
export async function sweepStore(context: StoreContext): Promise<void> {
  if (!hasRemains(context)) return;
  const collector = tryLockFile(context.paths.collector, 'exclusive');
  if (collector === undefined) return;
  try {
    const { collect } = await import('./collect.js');
    await collect(context, { remains: true });
  } finally {
    collector.release();
  }
}

function hasRemains(context: StoreContext): boolean {
  const { paths, meta } = context;
  return (
    readSessions(paths).dead.length > 0 ||
    readdirSync(paths.ingest).some((name) => /^(layer|meta)-/.test(name)) ||
    meta.removals().length > 0 ||
    lostSnapshots(context).length > 0 ||
    trashedLayers(paths).length > 0 ||
    hasTrash(paths)
  );
}

/**
 * Takes the remains of dead sessions, and layers without a record, to the trash, and removes snapshots' folders without a
 * record. The caller holds the store's lock exclusively: nobody is publishing anything.
 */
export function sweepLocked(context: StoreContext): void {
  const { paths, meta } = context;
  meta.settle();
  for (const name of readdirSync(paths.layers)) {
    const diffID = `sha256:${name}` as DiffID;
    if (!HEX.test(name) || meta.layer(diffID) !== undefined) continue;
    trashRemoved(context, diffID);
    // Another one of it is there already: its list is the same.
    rmSync(paths.layer(diffID), { recursive: true, force: true });
  }
  for (const id of lostSnapshots(context)) renameSync(paths.snapshot(id), join(paths.trash, `snapshot-${id}`));
  // Last, as these tell the next one to open the store that there are remains, when we get no further.
  for (const folder of readSessions(paths).dead) {
    for (const name of namesIn(folder)) if (name.startsWith('layer-')) trashFolder(paths, join(folder, name));
    removeSession(folder);
  }
  for (const name of readdirSync(paths.ingest)) {
    if (name.startsWith('layer-')) removeUnlocked(join(paths.ingest, name));
    if ((DOWNLOAD.test(name) || UPLOAD.test(name)) && isOlder(join(paths.ingest, name), KEPT_DAYS))
      removeUnlocked(join(paths.ingest, name));
    // Whoever makes a store's first records has the store's lock.
    if (name.startsWith('meta-')) rmSync(join(paths.ingest, name), { recursive: true, force: true });
  }
}

/** A layer that a dead session had not moved into place has no known name: it gets one of its own. */
function trashFolder(paths: StorePaths, folder: string): void {
  for (let i = 0; ; i++) {
    const hex = i.toString(16).padStart(64, '0');
    if (publishFolder(folder, trashedLayer(paths, `sha256:${hex}` as DiffID))) return;
  }
}

// Without a holder it is the remains of an importer that died.
function removeUnlocked(path: string): void {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return;
    throw error;
  }
  try {
    if (tryFlock(fd, LOCK.EX)) unlinkSync(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  } finally {
    closeSync(fd);
  }
}

function isOlder(path: string, days: number): boolean {
  return statSync(path).mtimeMs < Date.now() - days * 86_400_000;
}

/** IDs of folders of snapshots that were being made, or removed, when that ended early. */
function lostSnapshots({ paths, meta }: StoreContext): string[] {
  const known = new Set(meta.snapshots().map(({ snapshot }) => snapshot.id));
  return readdirSync(paths.snapshots).filter((id) => !known.has(id));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Removes empty folders of objects. The caller holds the store's lock exclusively. */
export function removeEmptyFolders(paths: StorePaths): void {
  for (const name of readdirSync(paths.objects)) {
    try {
      rmdirSync(join(paths.objects, name));
    } catch (error) {
      if (!isErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    }
  }
}
