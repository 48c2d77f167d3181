/**
 * What was taken away and is not yet deleted. Objects lie in `trash/objects-N/HEX`, where N is {@link Meta.deletions} after
 * they were taken: work that began before may have found one of them in the store and left it to that, and takes it back
 * when it is recorded. Layers lie in `trash/layer-HEX` until all their objects are dealt with, snapshots in `trash/snapshot-ID`.
 */
import { existsSync, linkSync, lstatSync, mkdirSync, readdirSync, renameSync, unlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { digestHex, type DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import { isErrno } from '../errors.js';
import { tryLockFile } from '../locks.js';
import type { ObjectList } from '../object-list.js';
import type { StorePaths } from '../paths.js';
import { oldestSession, type Session } from '../session.js';
import { removeFolder } from '../snapshot/remove-folder.js';

const OBJECTS = /^objects-(\d+)$/;
const LAYER = /^layer-([0-9a-f]{64})$/;

/** Where a layer's folder lies while it is being removed. */
export function trashedLayer(paths: StorePaths, diffID: DiffID): string {
  return join(paths.trash, `layer-${digestHex(diffID)}`);
}

/** DiffIDs of the layers in the trash. */
export function trashedLayers(paths: StorePaths): DiffID[] {
  return readdirSync(paths.trash)
    .map((name) => LAYER.exec(name)?.[1])
    .filter((hex) => hex !== undefined)
    .map((hex) => `sha256:${hex}` as DiffID);
}

/** Moves the folder of a layer whose record is gone out of the way, where that has not been done. */
export function trashRemoved({ paths }: StoreContext, diffID: DiffID): void {
  try {
    renameSync(paths.layer(diffID), trashedLayer(paths, diffID));
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST')) throw error;
  }
}

/**
 * Takes objects away that have no record any more. The caller holds the store's lock exclusively.
 * @param deletion {@link Meta.deletions} after it was counted
 * @returns bytes that they took on the disk
 */
export function discardObjects(paths: StorePaths, objects: readonly string[], deletion: number): number {
  if (objects.length === 0) return 0;
  const kept = oldestSession(paths) < Number.POSITIVE_INFINITY;
  const folder = join(paths.trash, `objects-${deletion}`);
  if (kept) mkdirSync(folder, { recursive: true, mode: 0o700 });
  let bytes = 0;
  for (const hex of objects) {
    const path = paths.object(hex);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    bytes += stats.blocks * 512;
    if (kept) renameSync(path, join(folder, hex));
    else unlinkSync(path);
  }
  return bytes;
}

/**
 * Makes sure that all objects which a session found in the store, or wrote, are there: what was taken away since it began
 * is taken back. The caller holds the store's lock shared.
 */
export function keepObjects({ paths, meta }: StoreContext, session: Session, objects: ObjectList): void {
  if (meta.deletions() === session.since) return;
  const folders = readdirSync(paths.trash).filter((name) => Number(OBJECTS.exec(name)?.[1]) > session.since);
  for (let i = 0; i < objects.count; i++) {
    const path = paths.object(objects.hex(i));
    if (!existsSync(path)) takeBack(paths, folders, objects.hex(i), path);
  }
}

function takeBack(paths: StorePaths, folders: readonly string[], hex: string, path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  for (const folder of folders) {
    try {
      linkSync(join(paths.trash, folder, hex), path);
      return;
    } catch (error) {
      // Somebody else took it back just now.
      if (isErrno(error, 'EEXIST')) return;
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }
  throw new LayerfsError('corrupt', `the store is damaged: object ${hex} is gone`);
}

/** Whether there is anything in the trash that nobody can want back. */
export function hasTrash(paths: StorePaths): boolean {
  return freeFolders(paths).length > 0;
}

/** Deletes objects that nobody can want back, and snapshots. The caller holds the collector's lock. */
export async function emptyTrash(paths: StorePaths): Promise<void> {
  for (const name of freeFolders(paths)) {
    if (OBJECTS.test(name)) await rm(join(paths.trash, name), { recursive: true, force: true });
    else removeFolder(join(paths.trash, name));
  }
}

/** {@link emptyTrash}, unless somebody collects garbage, who then does it. */
export async function emptyTrashUnlessCollected(paths: StorePaths): Promise<void> {
  const collector = hasTrash(paths) ? tryLockFile(paths.collector, 'exclusive') : undefined;
  if (collector === undefined) return;
  try {
    await emptyTrash(paths);
  } finally {
    collector.release();
  }
}

function freeFolders(paths: StorePaths): string[] {
  const names = readdirSync(paths.trash).filter((name) => !LAYER.test(name));
  if (names.length === 0) return [];
  const oldest = oldestSession(paths);
  return names.filter((name) => name.startsWith('snapshot-') || Number(OBJECTS.exec(name)?.[1]) <= oldest);
}
