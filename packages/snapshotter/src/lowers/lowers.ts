import { existsSync } from 'node:fs';
import type { Layout } from '../folders/layout.js';
import type { SnapshotRecord } from '../records.js';
import type { Mount } from '../snapshotter.js';
import { Bases, nameOf, type Base } from './bases.js';
import { LONGEST_LOWERDIR, planMounts } from './mounts.js';

/** What an active snapshot or a view stands on. It is kept, so that its mounts never change. */
export interface Given {
  /** IDs of snapshots whose folders are its lowers, the nearest first. */
  readonly folders: readonly string[];
  /** Below those. */
  readonly base?: Base;
}

/** What snapshots stand on, and who needs what of it. */
export class Lowers {
  readonly #layout: Layout;
  readonly #bases: Bases | undefined;
  readonly #overlayOptions: readonly string[];
  /** By ID of a snapshot: how many were given its folder. */
  readonly #folders = new Map<string, number>();
  /** By name of a chain: how many snapshots are it, or were given it. */
  readonly #chains = new Map<string, number>();
  /** By name of a chain: how many were given it. */
  readonly #given = new Map<string, number>();
  /** IDs of snapshots that are layers of the store by now, and may have a folder left. */
  readonly #sealed = new Set<string>();

  /** @param bases undefined: there is no store */
  constructor(layout: Layout, bases: Bases | undefined) {
    this.#layout = layout;
    this.#bases = bases;
    // With an index, an upper could not be mounted again over lowers that were moved or copied.
    this.#overlayOptions = existsSync('/sys/module/overlay/parameters/index') ? ['index=off'] : [];
  }

  /** What a new snapshot on a parent stands on. */
  plan(parent: SnapshotRecord | undefined, get: (name: string) => SnapshotRecord): Given {
    const folders: string[] = [];
    for (let above = parent; above !== undefined;) {
      if (above.stack !== undefined && this.#bases !== undefined) {
        const base = this.#bases.of(above.stack);
        const { length } = this.#lowerdir({ folders, base });
        return { folders, base: length <= LONGEST_LOWERDIR ? base : this.#bases.of(above.stack, true) };
      }
      folders.push(above.id);
      above = above.parent === undefined ? undefined : get(above.parent);
    }
    return { folders };
  }

  #lowerdir({ folders, base }: Given): string {
    const paths = folders.map((id) => this.#layout.fs(id));
    return [...paths, ...(base === undefined ? [] : [this.#bases?.path(base), this.#bases?.objects(base)])].join(':');
  }

  /** Whether it can be mounted at this moment. */
  isReady({ base }: Given): boolean {
    return base === undefined || this.#bases === undefined || this.#bases.isReady(base);
  }

  /** Makes that it can be mounted. @returns false when there must be another plan */
  async ensure({ base }: Given): Promise<boolean> {
    return base === undefined || this.#bases === undefined || (await this.#bases.ensure(base));
  }

  /** The folder whose attributes the root of what stands on it gets; undefined: on nothing. */
  root({ folders: [first], base }: Given): string | undefined {
    if (first !== undefined) return this.#layout.fs(first);
    return base === undefined ? undefined : this.#bases?.path(base);
  }

  /** The mounts of a snapshot. */
  mounts({ id, kind }: SnapshotRecord, given: Given): readonly Mount[] {
    const { base } = given;
    const objects = base === undefined ? undefined : this.#bases?.objects(base);
    return planMounts(
      {
        kind: kind === 'view' ? 'view' : 'active',
        fs: this.#layout.fs(id),
        work: this.#layout.work(id),
        folders: given.folders.map((folder) => this.#layout.fs(folder)),
        ...(base === undefined || this.#bases === undefined ? {} : { base: this.#bases.path(base) }),
        ...(objects === undefined ? {} : { objects }),
      },
      this.#overlayOptions,
    );
  }

  /** Counts what a record needs; to be called when it is on disk. */
  count({ id, stack, given }: SnapshotRecord): void {
    if (stack !== undefined) this.#sealed.add(id);
    for (const folder of given?.folders ?? []) add(this.#folders, folder, 1);
    for (const each of [stack, given?.base]) if (each !== undefined) add(this.#chains, nameOf(each.chainID), 1);
    if (given?.base !== undefined) add(this.#given, nameOf(given.base.chainID), 1);
  }

  /**
   * Takes back what {@link count} counted of a record that is gone, or was replaced by another that is counted.
   * @returns folders that nobody needs any more
   */
  forget({ id, stack, given }: SnapshotRecord, isGone: boolean): { ids: string[]; paths: string[] } {
    if (isGone) this.#sealed.delete(id);
    for (const folder of given?.folders ?? []) add(this.#folders, folder, -1);
    const chains = [stack, given?.base].flatMap((each) => (each === undefined ? [] : [nameOf(each.chainID)]));
    for (const chain of chains) add(this.#chains, chain, -1);
    if (given?.base !== undefined) add(this.#given, nameOf(given.base.chainID), -1);
    return {
      ids: [id, ...(given?.folders ?? [])].filter((each) => this.#sealed.has(each) && !this.#folders.has(each)),
      paths: chains.flatMap((chain) => (this.#chains.has(chain) ? [] : (this.#bases?.release(chain) ?? []))),
    };
  }

  /** Unmounts what no snapshot was given. What was checked out stays: it is not as quickly made again. */
  unmountIdle(): void {
    for (const chain of this.#bases?.all() ?? []) if (!this.#given.has(chain)) this.#bases?.unmount(chain);
  }

  /** That a folder of a sealed snapshot is gone. */
  removed(id: string): void {
    this.#sealed.delete(id);
  }

  /** As {@link forget}, of all that is there and nobody counted. */
  sweep(): { ids: string[]; paths: string[] } {
    const chains = [...(this.#bases?.all() ?? [])].filter((chain) => !this.#chains.has(chain));
    return {
      ids: [...this.#sealed].filter((id) => !this.#folders.has(id)),
      paths: chains.flatMap((chain) => this.#bases?.release(chain) ?? []),
    };
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
