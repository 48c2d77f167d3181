import type { DiffID, Store } from 'layerfs';
import type { SnapshotRecord } from '../records.js';

/** All leases of the store that begin with this are the snapshotter's. */
const LABEL = 'layerfs snapshotter: ';

/** What a lease on the layers of a snapshot is called. */
export function leaseLabel(name: string): string {
  return LABEL + name.slice(0, 200);
}

/**
 * The store's leases on what snapshots need. A lease is made before the record that names it, and given back after that is
 * gone: what a crash leaves is a lease without a record, which goes when the next snapshotter opens, or after a sealing process has failed.
 */
export class SnapshotLeases {
  readonly #store: Store;
  /** Labels of leases that have no record yet. */
  readonly #unrecorded = new Set<string>();

  constructor(store: Store) {
    this.#store = store;
  }

  async create(name: string, layers: readonly DiffID[]): Promise<string> {
    const { id } = await this.#store.leases.create({ layers, expires: 'never', label: leaseLabel(name) });
    return id;
  }

  /**
   * Makes a lease, and calls `record`, which writes the record that names it; without one it is given back.
   * @returns what `record` returned
   */
  async withRecord<T>(
    name: string,
    layers: readonly DiffID[],
    record: (lease: string) => T | undefined,
  ): Promise<T | undefined> {
    const label = leaseLabel(name);
    this.#unrecorded.add(label);
    try {
      const lease = await this.create(name, layers);
      let recorded: T | undefined;
      try {
        recorded = record(lease);
      } finally {
        if (recorded === undefined) await this.release(lease);
      }
      return recorded;
    } finally {
      this.#unrecorded.delete(label);
    }
  }

  async release(id: string): Promise<void> {
    await this.#store.leases.release(id);
  }

  /**
   * Gives back those that no record names, and makes those anew that were taken away by others.
   * @param renewed is told of a record's new lease
   * @param lost is told why a snapshot has none: its layers are gone
   */
  async reconcile(
    records: readonly SnapshotRecord[],
    renewed: (name: string, lease: string) => void,
    lost: (error: unknown) => void,
  ): Promise<void> {
    const ours = (label: string): boolean => label.startsWith(LABEL) && !this.#unrecorded.has(label);
    const leases = new Set(this.#store.leases.list().flatMap(({ id, label }) => (ours(label) ? [id] : [])));
    for (const { name, stack, lease } of records) {
      if (stack === undefined || (lease !== undefined && leases.delete(lease))) continue;
      try {
        renewed(name, await this.create(name, stack.diffIDs));
      } catch (error) {
        lost(error);
      }
    }
    for (const id of leases) await this.release(id);
  }
}
