import { createHash } from 'node:crypto';
import { chainIDs, type ChainID, type Digest } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import type { Meta } from '../meta.js';
import type { Stack } from '../snapshot/upper-tar.js';

/** A stack that an image begins with, and what its top layer holds. */
export interface FoundStack extends Stack {
  /** Of the content of the top layer, in bytes. */
  readonly contentSize: number;
  readonly entries: number;
}

/** What a chain is the beginning of: an image, and how many of its layers. */
interface Beginning {
  readonly image: Digest;
  readonly layers: number;
}

/** Finds images by the chains that they begin with. Reads each image once: what a manifest names never changes. */
export class StackIndex {
  readonly #chains = new Map<ChainID, Beginning[]>();
  readonly #images = new Map<Digest, readonly ChainID[]>();

  /** The layers of a stack that an image of the store begins with; undefined when there is none. */
  find({ meta }: StoreContext, chainID: ChainID): FoundStack | undefined {
    this.#update(meta);
    for (const { image, layers } of this.#chains.get(chainID) ?? []) {
      const diffIDs = meta
        .image(image)
        ?.layers.slice(0, layers)
        .map(({ diffID }) => diffID);
      const top = diffIDs?.at(-1);
      const layer = top === undefined ? undefined : meta.layer(top);
      if (diffIDs === undefined || layer === undefined) continue;
      return { chainID, diffIDs, contentSize: layer.contentSize, entries: layer.entries };
    }
    return undefined;
  }

  /** Takes in images that came, and forgets those that went. */
  #update(meta: Meta): void {
    const there = new Set(meta.imageDigests());
    for (const [image, chains] of this.#images) if (!there.has(image)) this.#forget(image, chains);
    for (const image of there) {
      if (this.#images.has(image)) continue;
      const diffIDs = meta.image(image)?.layers.map(({ diffID }) => diffID) ?? [];
      const chains = chainIDs(diffIDs, (bytes) => createHash('sha256').update(bytes).digest());
      this.#images.set(image, chains);
      for (const [i, chain] of chains.entries()) {
        this.#chains.set(chain, [...(this.#chains.get(chain) ?? []), { image, layers: i + 1 }]);
      }
    }
  }

  #forget(image: Digest, chains: readonly ChainID[]): void {
    this.#images.delete(image);
    for (const chain of chains) {
      const left = (this.#chains.get(chain) ?? []).filter((each) => each.image !== image);
      if (left.length === 0) this.#chains.delete(chain);
      else this.#chains.set(chain, left);
    }
  }
}
