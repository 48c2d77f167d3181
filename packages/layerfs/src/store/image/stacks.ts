import { createHash } from 'node:crypto';
import { chainIDs, type ChainID } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import type { Stack } from '../snapshot/upper-tar.js';

/** A stack that an image begins with, and what its top layer holds. */
export interface FoundStack extends Stack {
  /** Of the content of the top layer, in bytes. */
  readonly contentSize: number;
  readonly entries: number;
}

/** Chains of images, whole and all that they begin with: they never change. */
const known = new Map<string, readonly ChainID[]>();
const KNOWN = 10_000;

/** The layers of a stack that an image of the store begins with; undefined when there is none. */
export function findStack({ meta }: StoreContext, chainID: ChainID): FoundStack | undefined {
  for (const { digest, layers } of meta.images()) {
    const diffIDs = layers.map(({ diffID }) => diffID);
    let chains = known.get(digest);
    if (chains === undefined) {
      if (known.size === KNOWN) known.clear();
      chains = chainIDs(diffIDs, (bytes) => createHash('sha256').update(bytes).digest());
      known.set(digest, chains);
    }
    const at = chains.indexOf(chainID);
    const layer = at < 0 ? undefined : meta.layer(diffIDs[at]);
    if (layer === undefined) continue;
    return { chainID, diffIDs: diffIDs.slice(0, at + 1), contentSize: layer.contentSize, entries: layer.entries };
  }
  return undefined;
}
