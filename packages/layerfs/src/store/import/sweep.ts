import { readdirSync, rmSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest, DiffID } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import { isErrno } from '../errors.js';
import { readPins } from '../image/pins.js';
import { sweepIngest, tryLockFile } from '../locks.js';
import { removeFolder } from '../snapshot/remove-folder.js';
import { ObjectList } from '../object-list.js';

const HEX = /^[0-9a-f]{64}$/;

/**
 * Removes what importers that died left behind: their ingest folders, and what they had moved into place without
 * getting as far as to record it. Does nothing while somebody else uses the store, or when there is nothing.
 */
export function sweepStore(context: StoreContext): void {
  if (readdirSync(context.paths.ingest).length === 0 && lostSnapshots(context).length === 0) return;
  const lock = tryLockFile(context.paths.lock, 'exclusive');
  if (lock === undefined) return;
  try {
    sweepLocked(context);
  } finally {
    lock.release();
  }
}

/** As {@link sweepStore}, by a caller who holds the store's exclusive lock: then no importer lives. */
export function sweepLocked(context: StoreContext): void {
  const { paths } = context;
  const orphans: string[] = [];
  for (const name of readdirSync(paths.ingest)) {
    const path = join(paths.ingest, name);
    if (name.startsWith('session-')) orphans.push(...layerFolders(path));
    else if (name.startsWith('layer-')) unlinkSync(path);
    else if (name.startsWith('meta-')) rmSync(path, { recursive: true, force: true });
  }
  for (const name of readdirSync(paths.layers)) {
    if (HEX.test(name) && context.meta.layer(`sha256:${name}` as DiffID) === undefined) {
      orphans.push(join(paths.layers, name));
    }
  }
  for (const folder of orphans) removeOrphanLayer(context, folder);
  sweepIngest(paths.ingest);
  sweepBlobs(context);
  for (const folder of lostSnapshots(context)) removeFolder(folder);
  const chains = new Set<string>(context.meta.neededImages().map(({ chainID }) => chainID));
  for (const pin of readPins(paths)) chains.add(pin.chainID);
  for (const name of readdirSync(paths.chains)) {
    // One that was just moved here may not have reached the disk.
    if (!chains.has(`sha256:${name}`)) rmSync(join(paths.chains, name), { recursive: true, force: true });
  }
}

/** Folders of snapshots that were being made, or removed, when that ended early. */
function lostSnapshots({ paths, meta }: StoreContext): string[] {
  const known = new Set(meta.snapshots().map(({ snapshot }) => snapshot.id));
  return readdirSync(paths.snapshots)
    .filter((id) => !known.has(id))
    .map((id) => paths.snapshot(id));
}

function layerFolders(session: string): string[] {
  return readdirSync(session)
    .filter((name) => name.startsWith('layer-'))
    .map((name) => join(session, name));
}

/** Objects that an unrecorded layer brought and no other layer counts go with it. */
function removeOrphanLayer({ paths, meta, xxhash }: StoreContext, folder: string): void {
  const list = readList(join(folder, 'objects'), xxhash);
  const count = list?.count ?? 0;
  for (let i = 0; i < count; i++) {
    if (list !== undefined && meta.objectCount(list.digest(i)) === 0)
      rmSync(paths.object(list.hex(i)), { force: true });
  }
  rmSync(folder, { recursive: true, force: true });
}

// An importer that died before its list was written had not published anything.
function readList(path: string, xxhash: StoreContext['xxhash']): ObjectList | undefined {
  try {
    return ObjectList.read(path, xxhash);
  } catch (error) {
    if (isErrno(error, 'ENOENT') || (error as { code?: string }).code === 'corrupt') return undefined;
    throw error;
  }
}

function sweepBlobs({ paths, meta }: StoreContext): void {
  const used = new Set<string>();
  for (const image of meta.neededImages()) used.add(image.digest).add(image.config);
  for (const name of readdirSync(paths.blobs)) {
    const digest = `sha256:${name}` as Digest;
    if (!used.has(digest) && meta.blob(digest) === undefined) rmSync(join(paths.blobs, name), { force: true });
  }
}
