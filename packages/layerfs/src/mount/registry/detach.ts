import { spawnSync } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import { ErrnoError, MNT, umount2 } from '@layerfs/linux';
import { LayerfsError } from '../../core/error.js';
import { describeHolders, findHolders, type Holder } from './holders.js';
import { mountAt, readMountinfo } from './mountinfo.js';

/** A mount cannot be unmounted because somebody uses it. Code failed-precondition. */
export class BusyError extends LayerfsError {
  /** Who; empty when nobody was found (processes of other users show only to root). */
  readonly holders: readonly Holder[];

  constructor(mountpoint: string, holders: readonly Holder[]) {
    const who =
      holders.length === 0
        ? 'by something this user may not see'
        : `by:\n${describeHolders(holders).replaceAll(/^/gm, '  ')}`;
    super('failed-precondition', `${mountpoint} is in use ${who}`);
    this.holders = holders;
  }
}

// A use that nobody is found for is mostly a process just ending: worth a short wait before it is an error.
const TRIES = 10;
const PAUSE_MS = 20;

/**
 * Takes a mount off its mount point: umount(2), or `fusermount3 -u` for those who may not.
 * @throws BusyError; LayerfsError permission-denied or unavailable
 */
export async function detach(mountpoint: string, { lazy = false }: { lazy?: boolean } = {}): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const outcome = tryDetach(mountpoint, lazy);
    if (outcome === 'done') return;
    const table = readMountinfo();
    const mount = mountAt(mountpoint, table);
    if (mount === undefined) return;
    const holders = findHolders(mount, table);
    if (holders.length > 0 || attempt === TRIES) throw new BusyError(mountpoint, holders);
    await setTimeout(PAUSE_MS);
  }
}

function tryDetach(mountpoint: string, lazy: boolean): 'done' | 'busy' {
  try {
    umount2(mountpoint, MNT.NOFOLLOW | (lazy ? MNT.DETACH : 0));
    return 'done';
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    if (error.code === 'EBUSY') return 'busy';
    // EINVAL: nothing is mounted there (any more), which is what was asked for.
    if (error.code === 'EINVAL') return 'done';
    if (error.code !== 'EPERM') {
      throw new LayerfsError('internal', `Cannot unmount ${mountpoint}: ${error.message}`, { cause: error });
    }
  }
  const result = spawnSync('fusermount3', ['-u', ...(lazy ? ['-z'] : []), '--', mountpoint], { encoding: 'utf8' });
  if (result.error !== undefined) {
    throw new LayerfsError('unavailable', 'Without root, unmounting needs fusermount3 (package fuse3)', {
      cause: result.error,
    });
  }
  if (result.status === 0) return 'done';
  if (/busy/i.test(result.stderr)) return 'busy';
  throw new LayerfsError('permission-denied', `Cannot unmount ${mountpoint}: ${result.stderr.trim()}`);
}
