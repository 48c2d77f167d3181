import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { IdMaps } from '../labels/id-maps.js';
import { hasRedirects } from '../folders/redirects.js';
import type { Layout } from '../folders/layout.js';
import type { SnapshotRecord } from '../records.js';
import type { Mount } from '../snapshotter.js';
import { Bases, nameOf, type Base } from './bases.js';
import { MappedMounts } from './mapped.js';
import { LONGEST_LOWERDIR, planMounts } from './mounts.js';

/** What an active snapshot or a view stands on. It is kept, so that its mounts never change. */
export interface Given {
  /** IDs of snapshots whose folders are its lowers, the nearest first. */
  readonly folders: readonly string[];
  /** Below those. */
  readonly base?: Base;
  /** Whose ids files belong to. */
  readonly maps?: IdMaps;
}

/** What the folders of all snapshots are called among idmapped mounts. */
const ALL_FOLDERS = 's';

/** What snapshots stand on, and who needs what of it. */
export class Lowers {
  readonly #layout: Layout;
  readonly #bases: Bases | undefined;
  readonly #mapped: MappedMounts;
  readonly #overlayOptions: readonly string[];
  /** By ID of a snapshot: how many were given its folder. */
  readonly #folders = new Map<string, number>();
  /** By name of a chain: how many snapshots are it, or were given it. */
  readonly #chains = new Map<string, number>();
  /** By name of a chain: how many were given it. */
  readonly #given = new Map<string, number>();
  /** By name of an idmapped mount: how many were given it. */
  readonly #maps = new Map<string, number>();
  /** By ID of a snapshot, where it was looked for: whether files in its folder have their content elsewhere. */
  readonly #redirects = new Map<string, boolean>();
  /** IDs of snapshots that are layers of the store by now, and may have a folder left. */
  readonly #sealed = new Set<string>();

  /** @param bases undefined: there is no store */
  constructor(layout: Layout, bases: Bases | undefined) {
    this.#layout = layout;
    this.#bases = bases;
    this.#mapped = new MappedMounts(join(layout.root, 'mapped'));
    // With an index, an upper could not be mounted again over lowers that were moved or copied.
    this.#overlayOptions = existsSync('/sys/module/overlay/parameters/index') ? ['index=off'] : [];
  }

  /** What a new snapshot on a parent stands on. */
  plan(parent: SnapshotRecord | undefined, get: (name: string) => SnapshotRecord, maps?: IdMaps): Given {
    const folders: string[] = [];
    const owners = maps === undefined ? {} : { maps };
    for (let above = parent; above !== undefined;) {
      if (above.stack !== undefined && this.#bases !== undefined) {
        const base = this.#bases.of(above.stack);
        const { length } = this.#lowerdir({ folders, base, ...owners });
        const plain = length > LONGEST_LOWERDIR || folders.some((id) => this.#redirects.get(id) === true);
        const shown = plain ? this.#bases.of(above.stack, true) : base;
        return { folders, base: shown, ...owners };
      }
      folders.push(above.id);
      above = above.parent === undefined ? undefined : get(above.parent);
    }
    return { folders, ...owners };
  }

  #lowerdir(given: Given): string {
    const { base } = given;
    return [
      ...this.#folderPaths(given),
      ...(base === undefined ? [] : [this.#basePath(given), this.#bases?.objects(base)]),
    ].join(':');
  }

  #folderPaths({ folders, maps }: Given): string[] {
    if (maps === undefined) return folders.map((id) => this.#layout.fs(id));
    const all = this.#mapped.path(maps, ALL_FOLDERS);
    return folders.map((id) => join(all, id, 'fs'));
  }

  #basePath({ base, maps }: Given): string | undefined {
    if (base === undefined || this.#bases === undefined) return undefined;
    return maps === undefined ? this.#bases.path(base) : this.#mapped.path(maps, nameOf(base.chainID));
  }

  /** The idmapped mounts that it stands on, and what they show. */
  #mappedOf({ folders, base, maps }: Given): (readonly [maps: IdMaps, name: string, source: string])[] {
    if (maps === undefined) return [];
    return [
      ...(folders.length === 0 ? [] : [[maps, ALL_FOLDERS, this.#layout.snapshots] as const]),
      ...(base === undefined || this.#bases === undefined
        ? []
        : [[maps, nameOf(base.chainID), this.#bases.path(base)] as const]),
    ];
  }

  /** IDs of the folders in which the kernel would take a redirect for the path of an object. */
  #exposed({ folders, base }: Given): readonly string[] {
    return base === undefined || this.#bases?.objects(base) === undefined ? [] : folders;
  }

  /** Whether it can be mounted at this moment. */
  isReady(given: Given): boolean {
    const { base } = given;
    if (base !== undefined && this.#bases?.isReady(base) === false) return false;
    if (this.#exposed(given).some((id) => this.#redirects.get(id) !== false)) return false;
    return this.#mappedOf(given).every((mapped) => this.#mapped.isReady(...mapped));
  }

  /** Makes that it can be mounted. @returns false when there must be another plan */
  async ensure(given: Given): Promise<boolean> {
    const { base } = given;
    if (base !== undefined && this.#bases !== undefined && !(await this.#bases.ensure(base))) return false;
    for (const id of this.#exposed(given)) {
      const known = this.#redirects.get(id) ?? (await hasRedirects(this.#layout.fs(id)));
      this.#redirects.set(id, known);
      if (known) return false;
    }
    for (const mapped of this.#mappedOf(given)) this.#mapped.ensure(...mapped);
    return true;
  }

  /** The folder whose attributes the root of what stands on it gets; undefined: on nothing. */
  root(given: Given): string | undefined {
    return this.#folderPaths(given)[0] ?? this.#basePath(given);
  }

  /** The mounts of a snapshot. */
  mounts({ id, kind }: SnapshotRecord, given: Given): readonly Mount[] {
    const { base } = given;
    const basePath = this.#basePath(given);
    const objects = base === undefined ? undefined : this.#bases?.objects(base);
    return planMounts(
      {
        kind: kind === 'view' ? 'view' : 'active',
        fs: this.#layout.fs(id),
        work: this.#layout.work(id),
        folders: this.#folderPaths(given),
        ...(basePath === undefined ? {} : { base: basePath }),
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
    for (const name of this.#mappedNames(given)) add(this.#maps, name, 1);
  }

  #mappedNames(given: Given | undefined): string[] {
    return given === undefined ? [] : this.#mappedOf(given).map(([maps, name]) => this.#mapped.nameOf(maps, name));
  }

  /**
   * Takes back what {@link count} counted of a record that is gone, or was replaced by another that is counted.
   * @returns folders that nobody needs any more
   */
  forget({ id, stack, given }: SnapshotRecord, isGone: boolean): { ids: string[]; paths: string[] } {
    if (isGone) {
      this.#sealed.delete(id);
      this.#redirects.delete(id);
    }
    for (const folder of given?.folders ?? []) add(this.#folders, folder, -1);
    const chains = [stack, given?.base].flatMap((each) => (each === undefined ? [] : [nameOf(each.chainID)]));
    for (const chain of chains) add(this.#chains, chain, -1);
    if (given?.base !== undefined) add(this.#given, nameOf(given.base.chainID), -1);
    for (const name of this.#mappedNames(given)) {
      add(this.#maps, name, -1);
      if (!this.#maps.has(name)) this.#mapped.release(name);
    }
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
    this.#redirects.delete(id);
  }

  /** As {@link forget}, of all that is there and nobody counted. */
  sweep(): { ids: string[]; paths: string[] } {
    for (const name of this.#mapped.all()) if (!this.#maps.has(name)) this.#mapped.release(name);
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
