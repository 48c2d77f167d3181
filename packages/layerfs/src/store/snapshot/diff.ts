/** What differs: a snapshot from its image, or one image from another. */
import { ROOT } from '../../core/tree/format.js';
import { changesOf, type Change } from '../../core/overlay/entry.js';
import { TreeEntries } from '../../core/overlay/tree-entries.js';
import { upperEntries } from '../../core/overlay/upper-entries.js';
import type { Tree } from '../../core/tree/tree.js';
import type { StoreContext } from '../context.js';
import { findImage } from '../image/lookup.js';
import type { ImageRecord } from '../meta.js';
import { ensureChain, openTree } from '../trees.js';
import { openUpper } from './disk-upper.js';
import { snapshotRecord, type Freeze } from './snapshot.js';
import { join } from 'node:path';

/**
 * Changes of a snapshot against its image, sorted by path. The caller holds the store's shared lock.
 * @param freeze see {@link Freeze}
 */
export async function diffSnapshot(context: StoreContext, name: string, freeze?: Freeze): Promise<Change[]> {
  const { id, image } = snapshotRecord(context.meta, name);
  const thaw = await freeze?.();
  try {
    return withTree(context, image, (tree) => {
      const upper = openUpper(join(context.paths.snapshot(id), 'upper'));
      try {
        return changesOf(upperEntries(tree, upper));
      } finally {
        upper.close();
      }
    });
  } finally {
    await thaw?.();
  }
}

/** Changes from one image to another, sorted by path. The caller holds the store's shared lock. */
export function diffImages(context: StoreContext, from: string, to: string): Change[] {
  const base = findImage(context.meta, from).record;
  const other = findImage(context.meta, to).record;
  if (base.chainID === other.chainID) return [];
  return withTree(context, base, (baseTree) =>
    withTree(context, other, (tree) => changesOf(new TreeEntries(tree, baseTree).child('', ROOT, ROOT))),
  );
}

/** Maps the merged tree of an image, checked through, while `action` runs. */
function withTree<T>(context: StoreContext, image: ImageRecord, action: (tree: Tree) => T): T {
  const diffIDs = image.layers.map(({ diffID }) => diffID);
  const { tree, unmap } = openTree(ensureChain(context, image.chainID, diffIDs));
  try {
    return action(tree);
  } finally {
    unmap();
  }
}
