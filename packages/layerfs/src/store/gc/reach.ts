import type { DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import { checkAborted } from '../errors.js';
import type { ObjectList } from '../object-list.js';
import { layerObjects, turn } from './counts.js';
import { ObjectTable } from './object-table.js';

/**
 * Proves of the objects of layers that go whether a layer that stays lists them: counts alone are not believed. It knows the
 * layers that stay by their lists, and reads each of those once.
 */
export class Reach {
  readonly #context: StoreContext;
  /** Objects of what goes, with how many layers that stay list them. */
  readonly #table = new ObjectTable();
  /** Layers that are gone, go, or were counted. */
  readonly #seen = new Set<DiffID>();

  constructor(context: StoreContext) {
    this.#context = context;
  }

  /** A layer that goes, or its remains. Before any `update`. */
  goes(diffID: DiffID, list: ObjectList): void {
    this.#seen.add(diffID);
    for (let i = 0; i < list.count; i++) this.#table.place(list, i);
  }

  /** A layer that was to go, and stays. */
  stays(diffID: DiffID): void {
    this.#seen.delete(diffID);
  }

  /** Reads the lists of all layers that stay, letting others work meanwhile. */
  async scan(signal: AbortSignal | undefined): Promise<void> {
    if (this.#table.count === 0) return;
    for (const diffID of this.#context.meta.layerIDs()) {
      checkAborted(signal);
      this.#count(diffID);
      await turn();
    }
  }

  /** Reads what has come since; to be called with the store's lock held exclusively before anything is decided. */
  update(): void {
    if (this.#table.count === 0) return;
    for (const diffID of this.#context.meta.layerIDs()) this.#count(diffID);
  }

  /** How many layers that stay list an object of one that goes. */
  listed(sha256: Buffer): number {
    const at = this.#table.find(sha256);
    if (at < 0) throw new LayerfsError('internal', `object ${sha256.toString('hex')} is of no layer that goes`);
    return this.#table.countAt(at);
  }

  /** Objects that no layer lists that stays: the 64 hex digits of the sha256, and the size of the content. */
  *unlisted(): Generator<{ readonly hex: string; readonly size: number }> {
    for (let at = 0; at < this.#table.count; at++) {
      if (this.#table.countAt(at) > 0) continue;
      yield { hex: this.#table.keyAt(at).toString('hex'), size: this.#table.sizeAt(at) };
    }
  }

  #count(diffID: DiffID): void {
    if (this.#seen.has(diffID)) return;
    this.#table.countKnown(layerObjects(this.#context, diffID));
    this.#seen.add(diffID);
  }
}
