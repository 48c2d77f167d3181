/** Snapshots that go. */
import { closeSync, constants, openSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import { isErrno } from '../errors.js';
import { collectNow, type GcProgress } from '../gc/gc.js';
import { markReachable, reasonText } from '../gc/marks.js';
import { snapshotRecord } from './snapshot.js';

/** What a snapshot's removal freed. Bytes of object content. */
export interface RemoveSnapshotResult {
  readonly name: string;
  readonly freedBytes: number;
  readonly freedObjects: number;
}

/**
 * Removes a snapshot with all changes in it, and what only it still needed of its image.
 * @throws LayerfsError not-found; failed-precondition while it is mounted, leased, or being committed
 */
export async function removeSnapshot(
  context: StoreContext,
  name: string,
  options: { readonly onProgress?: (event: GcProgress) => void; readonly signal?: AbortSignal },
): Promise<RemoveSnapshotResult> {
  await context.lock.exclusive(options.signal, () => takeAway(context, name));
  const { objects } = await collectNow(context, options);
  return { name, freedBytes: objects.contentBytes, freedObjects: objects.count };
}

/** The record, then the folder. The caller holds the store's lock exclusively. */
function takeAway(context: StoreContext, name: string): void {
  const { meta, paths } = context;
  const { id } = snapshotRecord(meta, name);
  const [needed] = markReachable(context).snapshots.get(name) ?? [];
  if (needed !== undefined) {
    throw new LayerfsError(
      'failed-precondition',
      `snapshot ${name} is in use (${reasonText(needed)}): ${needed.by === 'mount' ? 'unmount it' : 'end that'} first`,
    );
  }
  const work = lockWork(join(paths.snapshot(id), 'work'), name);
  try {
    meta.transaction((writer) => writer.removeSnapshot(name));
    // A large one is deleted later: by whoever collects, as folders without a record.
    renameSync(paths.snapshot(id), join(paths.trash, `snapshot-${id}`));
  } finally {
    if (work !== undefined) closeSync(work);
  }
}

/** Whoever writes to an upper folder has its work folder locked, also one that is in no registry of mounts. */
function lockWork(path: string, name: string): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch (error) {
    // Whoever had it may have removed or closed it.
    if (isErrno(error, 'ENOENT', 'EACCES')) return undefined;
    throw error;
  }
  if (tryFlock(fd, LOCK.EX)) return fd;
  closeSync(fd);
  throw new LayerfsError('failed-precondition', `snapshot ${name} is in use by another process`);
}
