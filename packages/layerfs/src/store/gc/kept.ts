import type { StoreContext } from '../context.js';
import { blocksOf, freeableBytes } from './disk-usage.js';
import type { Marks, Reason } from './marks.js';

/** Something that stays, and why. */
export interface KeptThing {
  readonly kind: 'image' | 'layer' | 'chain' | 'blob' | 'snapshot';
  /** A digest, a diffID, a chainID, or a snapshot's name. */
  readonly id: string;
  /** On the disk; of a layer its tree, tar record and list, without its objects and its blob; 0 of images and snapshots. */
  readonly bytes: number;
  /** Objects that a layer lists. */
  readonly objects?: number;
  readonly because: readonly Reason[];
}

/** What stays, kind by kind. Objects stay because of the layers that list them. */
export function keptThings({ meta, paths }: StoreContext, marks: Marks): KeptThing[] {
  const kept: KeptThing[] = [];
  for (const [id, because] of marks.images)
    if (meta.image(id) !== undefined) kept.push({ kind: 'image', id, bytes: 0, because });
  for (const { name } of meta.snapshots()) {
    kept.push({ kind: 'snapshot', id: name, bytes: 0, because: marks.snapshots.get(name) ?? [] });
  }
  for (const [id, because] of marks.layers) {
    const objects = meta.layer(id)?.objects;
    if (objects !== undefined)
      kept.push({ kind: 'layer', id, bytes: freeableBytes(paths.layer(id)), objects, because });
  }
  for (const [id, because] of marks.chains) {
    kept.push({ kind: 'chain', id, bytes: freeableBytes(paths.chainFolder(id)), because });
  }
  for (const [id, because] of marks.documents) {
    kept.push({ kind: 'blob', id, bytes: blocksOf(paths.blob(id)), because });
  }
  for (const { digest, blob } of meta.blobs()) {
    const because = marks.layers.get(blob.diffID);
    const bytes = blocksOf(paths.blob(digest));
    if (because !== undefined && bytes > 0) kept.push({ kind: 'blob', id: digest, bytes, because });
  }
  return kept;
}
