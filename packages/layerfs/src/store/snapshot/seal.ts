/** Plain folders, as overlayfs writes them and containerd unpacks layers, become layers of the store. */
import { LayerfsError } from '../../core/error.js';
import type { ChainID, DiffID } from '../../core/digest.js';
import { MEDIA_TYPE } from '../../core/oci/media-types.js';
import type { StoreContext } from '../context.js';
import { checkAborted } from '../errors.js';
import { Leases } from '../gc/leases.js';
import { sweepStore } from '../gc/sweep.js';
import { commit } from '../import/commit.js';
import { Disk } from '../import/disk.js';
import { readLayer } from '../import/layer.js';
import { InflateThreads } from '../inflate/thread.js';
import { ObjectWriter } from '../objects.js';
import { Session } from '../session.js';
import { chainOf } from '../trees.js';
import { upperTar, type Stack } from './upper-tar.js';

/** How to seal. */
export interface SealOptions {
  /** Of the lease. */
  readonly label: string;
  readonly signal?: AbortSignal;
}

/** What sealing made. */
export interface SealedLayer extends Stack {
  /** ID of a lease on all of the stack that never expires. */
  readonly lease: string;
  /** What no layer can hold, in words. */
  readonly notes: readonly string[];
}

/**
 * Makes a layer of an upper folder, and leases the stack of which it is the top one. The folder stays as it is.
 * @param below what the folder stands on, base first
 * @throws LayerfsError not-found for a layer that the store has not; corrupt for a folder that no union writes; aborted. Then
 * nothing was added.
 */
export async function sealFolder(
  context: StoreContext,
  folder: string,
  below: readonly DiffID[],
  options: SealOptions,
): Promise<SealedLayer> {
  checkAborted(options.signal);
  return Disk.during(context.paths.root, (disk) => sealTo(disk, context, folder, below, options));
}

async function sealTo(
  disk: Disk,
  context: StoreContext,
  folder: string,
  below: readonly DiffID[],
  { label, signal }: SealOptions,
): Promise<SealedLayer> {
  const { lock, meta, paths } = context;
  const session = await lock.shared(signal, () => {
    const missing = below.find((diffID) => meta.layer(diffID) === undefined);
    if (missing !== undefined) throw new LayerfsError('not-found', `layer ${missing} is not in the store`);
    return new Session(context, `seal ${folder}`, { layers: below });
  });
  const objects = new ObjectWriter(paths, session.folder);
  const threads = new InflateThreads();
  const notes: string[] = [];
  const stack = below.length === 0 ? undefined : { chainID: chainOf(below), diffIDs: below };
  // containerd mounts what it was given, as root, without `userxattr`.
  const tarOptions = {
    privileged: true,
    onNote: (note: string) => void notes.push(note),
    ...(signal === undefined ? {} : { signal }),
  };
  const source = {
    what: folder,
    mediaType: MEDIA_TYPE.layer,
    open: () => upperTar(context, stack, folder, tarOptions),
  };
  let publishing = false;
  let failed = true;
  try {
    const work = { context, session, objects, threads, downloads: [], maxSize: undefined, signal };
    const layer = await readLayer(work, source, 1, () => undefined);
    disk.quiet();
    await disk.sync();
    checkAborted(signal);
    const diffIDs = [...below, layer.diffID];
    const lease = await lock.shared(signal, async () => {
      publishing = true;
      await commit(context, {
        images: [],
        layers: [layer],
        chains: new Map<ChainID, string>(),
        objects,
        session,
        disk,
      });
      return new Leases(context).create({ layers: diffIDs, expires: 'never', label });
    });
    failed = false;
    return { chainID: chainOf(diffIDs), diffIDs, lease: lease.id, notes };
  } finally {
    await threads.close();
    await objects.close();
    if (failed && publishing) {
      session.abandon();
      // What was published and not recorded; whoever opens the store next does it if we cannot.
      await sweepStore(context).catch(() => undefined);
    } else session.end();
  }
}
