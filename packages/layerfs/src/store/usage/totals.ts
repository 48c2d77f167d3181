/** What a store holds, in numbers that cost next to nothing: for those who ask every few seconds. */
import type { Meta } from '../meta.js';

/** What a store holds, from its records alone. */
export interface StoreTotals {
  /** `bytes` of content. */
  readonly objects: { readonly count: number; readonly bytes: number };
  /** `logicalBytes`: the files of all layers, each layer by itself. */
  readonly layers: { readonly count: number; readonly logicalBytes: number };
  /** What equal files would take if each were stored. */
  readonly savedByDedup: number;
}

/** Adds up, and does so again only when layers came or went: a store may have millions of objects. */
export class Totals {
  readonly #meta: Meta;
  #state = '';
  #last: StoreTotals | undefined;

  constructor(meta: Meta) {
    this.#meta = meta;
  }

  read(): StoreTotals {
    const meta = this.#meta;
    const layers = meta.layers();
    const state = `${meta.deletions()} ${layers.map(({ diffID }) => diffID).join(' ')}`;
    if (this.#last === undefined || state !== this.#state) {
      const objects = meta.objectTotals();
      const logicalBytes = layers.reduce((sum, { layer }) => sum + layer.contentSize, 0);
      this.#last = {
        objects,
        layers: { count: layers.length, logicalBytes },
        savedByDedup: Math.max(0, logicalBytes - objects.bytes),
      };
      this.#state = state;
    }
    return this.#last;
  }
}
