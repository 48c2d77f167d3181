import type { Digest } from '../../core/digest.js';
import type { StoreContext } from '../context.js';

/** How exact last uses are, in milliseconds: within this time nothing is written again. */
const EXACTNESS = 3600 * 1000;

/** Records that images are used now: mounted, exported, checked out, read, or made a snapshot of. */
export function touch({ meta }: StoreContext, images: readonly Digest[]): void {
  const now = Date.now();
  // A clock that was wrong once must not make an image look used for ever.
  const old = images.filter((digest) => Math.abs(now - (meta.lastUsed(digest) ?? 0)) > EXACTNESS);
  if (old.length === 0) return;
  meta.transaction((writer) => {
    for (const digest of old) if (meta.image(digest) !== undefined) writer.setUsed(digest, now);
  });
}
