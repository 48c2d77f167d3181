/** What differs: a snapshot from its image, or one image from another. */
import { ROOT } from '../../core/tree/format.js';
import { changesOf, type Change, type LayerEntry } from '../../core/overlay/entry.js';
import { TreeEntries } from '../../core/overlay/tree-entries.js';
import { upperEntries } from '../../core/overlay/upper-entries.js';
import type { Tree } from '../../core/tree/tree.js';
import type { StoreContext } from '../context.js';
import { checkAborted } from '../errors.js';
import { turn } from '../gc/counts.js';
import { findImage } from '../image/lookup.js';
import type { ImageRecord, SnapshotRecord } from '../meta.js';
import { withKept, type Kept } from '../session.js';
import { ensureChain, openTree } from '../trees.js';
import { openUpper } from './disk-upper.js';
import { snapshotRecord, type Freeze } from './snapshot.js';
import { join } from 'node:path';

/** Entries between two turns of the event loop. */
const BREATH = 4096;

/** How a snapshot is compared. */
export interface DiffOptions {
  /** For a snapshot that is mounted. */
  readonly freeze?: Freeze;
  readonly signal?: AbortSignal;
}

/** Changes of a snapshot against its image, sorted by path. */
export function diffSnapshot(context: StoreContext, name: string, options: DiffOptions): Promise<Change[]> {
  const { freeze, signal } = options;
  const find = (): Kept<SnapshotRecord> => {
    const found = snapshotRecord(context.meta, name);
    return { found, keep: { snapshots: [name] } };
  };
  return withKept(context, `diff ${name}`, signal, find, async ({ id, image }) => {
    const thaw = await freeze?.();
    try {
      return await withTree(context, image, signal, async (tree) => {
        const upper = openUpper(join(context.paths.snapshot(id), 'upper'));
        try {
          return await changesIn(upperEntries(tree, upper), signal);
        } finally {
          upper.close();
        }
      });
    } finally {
      await thaw?.();
    }
  });
}

/** Changes from one image to another, sorted by path. */
export function diffImages(
  context: StoreContext,
  from: string,
  to: string,
  { signal }: Pick<DiffOptions, 'signal'>,
): Promise<Change[]> {
  const find = (): Kept<readonly [ImageRecord, ImageRecord]> => {
    const found = [findImage(context.meta, from).record, findImage(context.meta, to).record] as const;
    return { found, keep: { images: found } };
  };
  return withKept(context, `diff ${from} ${to}`, signal, find, async ([base, other]) => {
    if (base.chainID === other.chainID) return [];
    return withTree(context, base, signal, (baseTree) =>
      withTree(context, other, signal, (tree) =>
        changesIn(new TreeEntries(tree, baseTree).child('', ROOT, ROOT), signal),
      ),
    );
  });
}

async function changesIn(entries: Iterable<LayerEntry>, signal: AbortSignal | undefined): Promise<Change[]> {
  const changed: LayerEntry[] = [];
  let seen = 0;
  for (const entry of entries) {
    if (entry.kind === 'deleted' || (entry.kind === 'entry' && entry.change !== undefined)) changed.push(entry);
    if (++seen % BREATH !== 0) continue;
    checkAborted(signal);
    await turn();
  }
  return changesOf(changed);
}

/** Maps the merged tree of an image, checked through, while `action` runs. */
async function withTree<T>(
  context: StoreContext,
  image: ImageRecord,
  signal: AbortSignal | undefined,
  action: (tree: Tree) => Promise<T>,
): Promise<T> {
  const diffIDs = image.layers.map(({ diffID }) => diffID);
  const path = await context.lock.shared(signal, () => ensureChain(context, image.chainID, diffIDs));
  const { tree, unmap } = openTree(path);
  try {
    return await action(tree);
  } finally {
    unmap();
  }
}
