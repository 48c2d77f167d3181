/** Unions of plain folders, without a store: what `fuse-layerfs` mounts. */
import { once } from 'node:events';
import { ServerProcess } from './server/spawn.js';
import type { FoldersPlan } from './server/plan-folders.js';

export { IdMap, parseIdRanges, type IdRange } from '../core/overlay/id-map.js';
export type { FoldersPlan } from './server/plan-folders.js';

/** A mounted union of folders. */
export interface FoldersMount {
  /** The serving process. */
  readonly pid: number;
  /** Whether the kernel reads and writes files itself, and if not, why. */
  readonly passthrough: boolean;
  readonly reason: string;
  /** Settles when it was unmounted. */
  readonly finished: Promise<void>;
}

/**
 * Mounts a union of plain folders and leaves a background process serving it.
 * @returns when the mount answers
 * @throws LayerfsError invalid-argument or unavailable, naming what cannot be used
 */
export async function mountFolders(plan: FoldersPlan): Promise<FoldersMount> {
  const labels = [plan.fsname, plan.mountpoint];
  const server = new ServerProcess<FoldersPlan, Omit<FoldersMount, 'finished'>>(
    new URL('server/main-folders.js', import.meta.url),
    labels,
  );
  const ready = await server.serve(plan);
  const { child } = server;
  const exited = child.exitCode === null ? once(child, 'exit') : Promise.resolve([]);
  return { ...ready, finished: exited.then(() => undefined) };
}
