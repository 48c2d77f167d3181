import { close } from '@layerfs/linux';
import { LayerfsError, type ChainID, type SealedLayer, type Store } from 'layerfs';
import { parseFilters } from './filter.js';
import type { Layout } from './folders/layout.js';
import { diskUsage } from './folders/usage.js';
import type { Bases } from './lowers/bases.js';
import { infoOf, now, updated } from './info.js';
import { hostRoot, idMapsOf, type IdMaps } from './labels/id-maps.js';
import { Quotas, maxSizeOf } from './labels/quota.js';
import { Lowers, type Given } from './lowers/lowers.js';
import { MountedFolders } from './lowers/mounted.js';
import { SnapshotLeases, leaseLabel } from './seal/leases.js';
import { Sealer, type Candidate, type SealWhen } from './seal/sealer.js';
import { Removals } from './removals.js';
import { restore } from './restore.js';
import { Records, checkKey, checkLabels, shown, type RecordWriter, type SnapshotRecord } from './records.js';
import {
  REMOTE,
  type CommitOptions,
  type Kind,
  type Labels,
  type Mount,
  type PrepareOptions,
  type SnapshotInfo,
  type Snapshotter,
  type Usage,
} from './snapshotter.js';

/** What it works with. */
export interface Parts {
  /** Where layers are kept, and how they are shown. */
  readonly store?: Store;
  readonly bases?: Bases;
  readonly seal?: SealWhen;
  readonly onProblem?: (error: unknown) => void;
}

/** A snapshotter whose snapshots are folders, and layers of a store. */
export class FolderSnapshotter implements Snapshotter {
  readonly #layout: Layout;
  readonly #records: Records;
  readonly #lock: number;
  readonly #onProblem: (error: unknown) => void;
  readonly #lowers: Lowers;
  readonly #quotas: Quotas;
  readonly #removals: Removals;
  readonly #store: Store | undefined;
  readonly #leases: SnapshotLeases | undefined;
  /** Leases of the store and records agree. */
  readonly #reconciled: Promise<void>;
  /** What has a record has its folders. */
  readonly #restored: Promise<void>;
  readonly #seal: SealWhen;
  readonly #sealer: Sealer | undefined;
  /** What goes on in the background. */
  readonly #pending = new Set<Promise<void>>();
  #closed = false;

  constructor(layout: Layout, lock: number, { store, bases, seal, onProblem }: Parts) {
    this.#seal = seal ?? 'behind';
    this.#layout = layout;
    this.#lock = lock;
    this.#onProblem = onProblem ?? (() => undefined);
    this.#lowers = new Lowers(layout, bases);
    this.#quotas = new Quotas(layout.snapshots);
    this.#removals = new Removals({
      layout,
      lowers: this.#lowers,
      quotas: this.#quotas,
      behind: (action) => this.#behind(action),
      onProblem: this.#onProblem,
    });
    this.#records = new Records(layout);
    if (store === undefined && this.#records.all().some(({ stack }) => stack !== undefined)) {
      this.#records.close();
      throw new LayerfsError('failed-precondition', `${layout.root} holds layers of a store: open it with that`);
    }
    this.#pin();
    for (const record of this.#records.all()) this.#lowers.count(record);
    this.#sweep();
    this.#restored = this.#behind(() =>
      restore({
        layout,
        records: this.#records,
        lowers: this.#lowers,
        stage: (kind, given) => this.#stage(kind, given),
        onProblem: this.#onProblem,
      }),
    );
    this.#store = store;
    this.#leases = store === undefined ? undefined : new SnapshotLeases(store);
    this.#reconciled = this.#reconcile();
    void this.#behind(() => this.#reconciled);
    if (store === undefined || this.#seal === 'never') return;
    this.#sealer = new Sealer({
      store: store.root,
      next: async (except) => this.#sealable(except),
      sealed: (candidate, layer) => this.#sealed(candidate, layer),
      failed: async (candidate, error) => {
        if (this.#records.get(candidate.name)?.id === candidate.id) this.#onProblem(error);
        // It may have got as far as its lease.
        await this.#reconcile();
      },
    });
    this.#sealer.call();
  }

  async #reconcile(): Promise<void> {
    const renewed = (name: string, lease: string): void =>
      this.#records.transaction((writer) => {
        const record = writer.get(name);
        if (record?.stack !== undefined) writer.put({ ...record, lease });
      });
    await this.#leases?.reconcile(this.#records.all(), renewed, this.#onProblem);
  }

  /** The next folder to be sealed: parents first, and nothing that is mounted. */
  async #sealable(except: ReadonlySet<string>): Promise<Candidate | undefined> {
    await this.#reconciled;
    this.#removals.release(this.#lowers.sweep());
    let mounted: MountedFolders | undefined;
    const records = this.#records.all().filter(({ kind, stack }) => kind === 'committed' && stack === undefined);
    for (const { id, name, parent } of records.toSorted((a, b) => Number(a.id) - Number(b.id))) {
      const below = parent === undefined ? [] : this.#records.get(parent)?.stack?.diffIDs;
      if (below === undefined || except.has(id)) continue;
      mounted ??= new MountedFolders(this.#layout.snapshots);
      if (mounted.has(id)) continue;
      return { id, name, folder: this.#layout.fs(id), below, label: leaseLabel(name) };
    }
    return undefined;
  }

  async #sealed({ id, name, folder }: Candidate, { chainID, diffIDs, lease }: SealedLayer): Promise<void> {
    const [usage] = await Promise.allSettled([this.#records.get(name)?.usage ?? diskUsage(folder)]);
    const replaced = this.#records.transaction((writer) => {
      const record = writer.get(name);
      if (record?.id !== id || record.stack !== undefined || usage.status === 'rejected') return undefined;
      const { given: _, ...kept } = record;
      const sealed = { ...kept, stack: { chainID, diffIDs }, lease, usage: usage.value };
      writer.put(sealed);
      return { record, sealed };
    });
    if (replaced === undefined) {
      await this.#leases?.release(lease);
      if (usage.status === 'rejected') throw usage.reason;
      // It was removed meanwhile.
      return;
    }
    this.#lowers.count(replaced.sealed);
    await this.#records.synced();
    this.#removals.release(this.#lowers.forget(replaced.record, false));
    await this.#removals.vacated;
  }

  /**
   * Makes a committed snapshot of a stack that an image of the store begins with.
   * @returns whether there is one now
   */
  async #offer(key: string, parent: string | undefined, labels: Labels): Promise<boolean> {
    const target = labels[REMOTE];
    if (target === undefined || this.#store === undefined || this.#leases === undefined) return false;
    const stack = this.#store.findStack(target as ChainID);
    if (stack === undefined || (stack.diffIDs.length === 1) !== (this.#parent(parent, this.#records) === undefined))
      return false;
    if (this.#isOffered(target, parent)) return true;
    await this.#reconciled;
    await this.#leases.withRecord(target, stack.diffIDs, (lease) => {
      this.#open();
      if (this.#isOffered(target, parent)) return undefined;
      const { chainID, diffIDs, contentSize: bytes, entries: inodes } = stack;
      const record = this.#records.transaction((writer) => {
        // Of another parent, as in another namespace of containerd's: that finds it by its labels.
        const name = writer.get(target) === undefined ? target : key;
        const state = { kind: 'committed', stack: { chainID, diffIDs }, lease, usage: { bytes, inodes } } as const;
        return this.#add(writer, name, parent, labels, state);
      });
      this.#lowers.count(record);
      return record;
    });
    return true;
  }

  #isOffered(target: string, parent: string | undefined): boolean {
    const found = this.#records.get(target);
    return found?.kind === 'committed' && (found.parent ?? '') === (parent ?? '') && found.labels[REMOTE] === target;
  }

  #add(
    writer: RecordWriter,
    name: string,
    parent: string | undefined,
    labels: Labels,
    state: Pick<SnapshotRecord, 'kind' | 'given' | 'stack' | 'lease' | 'usage' | 'project'>,
  ): SnapshotRecord {
    const above = this.#parent(parent, writer);
    if (writer.get(name) !== undefined) throw taken(name);
    const created = now();
    const made: SnapshotRecord = {
      id: writer.nextID(),
      name,
      ...(above === undefined ? {} : { parent: above.name }),
      labels,
      created,
      updated: created,
      children: 0,
      ...state,
    };
    writer.put(made);
    if (above !== undefined) writer.put({ ...above, children: above.children + 1 });
    return made;
  }

  /** Snapshots of a version that did not say what they stand on. */
  #pin(): void {
    const unpinned = this.#records.all().filter(({ kind, given }) => kind !== 'committed' && given === undefined);
    if (unpinned.length === 0) return;
    this.#records.transaction((writer) => {
      for (const record of unpinned) {
        const parent = this.#parent(record.parent, writer);
        writer.put({ ...record, given: this.#lowers.plan(parent, (name) => this.#get(name, writer)) });
      }
    });
  }

  /** What a crash left: half-made, half-removed, or without a record. */
  #sweep(): void {
    const known = new Set(this.#records.all().map(({ id }) => id));
    for (const id of this.#layout.placed()) if (!known.has(id)) this.#layout.unplace(id);
    for (const staged of this.#layout.staged()) this.#removals.discard(staged, this.#abandoned(staged));
    this.#removals.release(this.#lowers.sweep());
  }

  #stage(kind: Kind, given: Given): string {
    const above = this.#lowers.root(given) ?? (given.maps && hostRoot(given.maps));
    return this.#layout.stage(above, kind === 'active');
  }

  #hasProject(project: number): boolean {
    return this.#records.all().some((record) => record.project === project);
  }

  /** The project of what a crash left half made, before anybody else could write to it. */
  #abandoned(staged: string): number | undefined {
    if (!MADE.test(staged)) return undefined;
    const project = this.#quotas.projectOf(staged);
    return project === undefined || this.#hasProject(project) ? undefined : project;
  }

  /** Does something in the background. */
  #behind(action: () => Promise<void>): Promise<void> {
    const work = action()
      .catch(this.#onProblem)
      .finally(() => this.#pending.delete(work));
    this.#pending.add(work);
    return work;
  }

  #open(): void {
    if (this.#closed) throw new LayerfsError('failed-precondition', 'The snapshotter is closed');
  }

  /** Stands in front of all calls. */
  async #opened(): Promise<void> {
    await this.#restored;
    this.#open();
  }

  #get(key: string, from: Pick<RecordWriter, 'get'> = this.#records): SnapshotRecord {
    const record = from.get(checkKey(key, 'key'));
    if (record === undefined) throw new LayerfsError('not-found', `There is no snapshot ${shown(key)}`);
    return record;
  }

  async stat(key: string): Promise<SnapshotInfo> {
    await this.#opened();
    return infoOf(this.#get(key));
  }

  async update(info: Pick<SnapshotInfo, 'name' | 'labels'>, fields: readonly string[] = []): Promise<SnapshotInfo> {
    await this.#opened();
    const changed = this.#records.transaction((writer) => {
      const record = this.#get(info.name, writer);
      const labels = checkLabels(fields.length === 0 ? info.labels : updated(record, info.labels, fields));
      const changed = { ...record, labels, updated: now(record.updated) };
      writer.put(changed);
      return changed;
    });
    await this.#records.synced();
    return infoOf(changed);
  }

  async usage(key: string): Promise<Usage> {
    await this.#opened();
    const record = this.#get(key);
    if (record.usage !== undefined) return record.usage;
    const usage = await diskUsage(this.#layout.fs(record.id));
    if (record.kind === 'committed' && !this.#closed) {
      this.#records.transaction((writer) => {
        const same = writer.get(key);
        if (same?.id === record.id) writer.put({ ...same, usage });
      });
    }
    return usage;
  }

  async mounts(key: string): Promise<readonly Mount[]> {
    await this.#opened();
    const record = this.#get(key);
    const { kind, name, given } = record;
    if (kind === 'committed') throw new LayerfsError('failed-precondition', `Snapshot ${shown(name)} is committed`);
    if (given === undefined) throw new LayerfsError('internal', `Snapshot ${shown(name)} stands on nothing`);
    if (!this.#lowers.isReady(given) && !(await this.#lowers.ensure(given))) {
      throw new LayerfsError('unavailable', `What ${shown(name)} stands on cannot be mounted any more`);
    }
    return this.#lowers.mounts(record, given);
  }

  prepare(key: string, parent: string | undefined, options?: PrepareOptions): Promise<readonly Mount[]> {
    return this.#create('active', key, parent, options);
  }

  view(key: string, parent: string | undefined, options?: PrepareOptions): Promise<readonly Mount[]> {
    return this.#create('view', key, parent, options);
  }

  async #create(
    kind: Exclude<Kind, 'committed'>,
    key: string,
    parentName: string | undefined,
    { labels = {}, signal }: PrepareOptions = {},
  ): Promise<readonly Mount[]> {
    await this.#opened();
    if (signal?.aborted === true) throw new LayerfsError('aborted', 'interrupted');
    checkKey(key, 'key');
    checkLabels(labels);
    const maps = idMapsOf(labels);
    const maxSize = kind === 'active' ? maxSizeOf(labels) : undefined;
    // Before anything is made.
    this.#parent(parentName, this.#records);
    if (this.#records.get(key) !== undefined) throw taken(key);
    if (kind === 'active' && (await this.#offer(key, parentName, labels))) {
      await this.#records.synced();
      throw taken(labels[REMOTE] ?? '');
    }
    const given = await this.#ready(parentName, maps);
    if (this.#records.get(key) !== undefined) throw taken(key);
    const staged = this.#stage(kind, given);
    let project: number | undefined;
    let record: SnapshotRecord;
    try {
      if (maxSize !== undefined) project = this.#quotas.limit(staged, maxSize, (id) => this.#hasProject(id));
      record = this.#records.transaction((writer) => {
        const limited = project === undefined ? {} : { project };
        const made = this.#add(writer, key, parentName, labels, { kind, given, ...limited });
        // Within: what has a record has its folders. A crash before the commit leaves folders without a record.
        this.#layout.place(staged, made.id);
        return made;
      });
    } catch (error) {
      this.#removals.discard(staged, project);
      throw error;
    }
    this.#lowers.count(record);
    await this.#records.synced();
    return this.#lowers.mounts(record, given);
  }

  /** What a new snapshot on a parent stands on, ready to be mounted: nothing happens between this and what follows. */
  async #ready(parent: string | undefined, maps: IdMaps | undefined): Promise<Given> {
    for (;;) {
      const given = this.#lowers.plan(this.#parent(parent, this.#records), (name) => this.#get(name), maps);
      if (this.#lowers.isReady(given)) return given;
      await this.#lowers.ensure(given);
      this.#open();
    }
  }

  #parent(name: string | undefined, from: Pick<RecordWriter, 'get'>): SnapshotRecord | undefined {
    if (name === undefined || name === '') return undefined;
    const record = from.get(checkKey(name, 'parent'));
    if (record === undefined) throw new LayerfsError('not-found', `There is no parent ${shown(name)}`);
    if (record.kind === 'committed') return record;
    throw new LayerfsError('invalid-argument', `The parent ${shown(name)} is not committed`);
  }

  async commit(name: string, key: string, { labels = {}, parent, signal }: CommitOptions = {}): Promise<void> {
    await this.#opened();
    if (signal?.aborted === true) throw new LayerfsError('aborted', 'interrupted');
    checkKey(name, 'name');
    checkLabels(labels);
    this.#records.transaction((writer) => {
      if (writer.get(name) !== undefined) throw taken(name);
      const record = this.#get(key, writer);
      if (record.kind !== 'active') {
        throw new LayerfsError('failed-precondition', `Snapshot ${shown(key)} is not active`);
      }
      if (parent !== undefined && parent !== '' && parent !== record.parent) {
        throw new LayerfsError('invalid-argument', `Snapshot ${shown(key)} does not stand on ${shown(parent)}`);
      }
      const created = now();
      writer.remove(key);
      writer.put({ ...record, kind: 'committed', name, labels, created, updated: created });
    });
    await this.#records.synced();
    if (this.#seal === 'commit') await this.#sealer?.run();
    else this.#sealer?.call();
  }

  async remove(key: string): Promise<void> {
    await this.#opened();
    const record = this.#records.transaction((writer) => {
      const record = this.#get(key, writer);
      if (record.children > 0) {
        throw new LayerfsError(
          'failed-precondition',
          `Cannot remove ${shown(key)}: ${record.children} snapshots stand on it`,
        );
      }
      const above = record.parent === undefined ? undefined : writer.get(record.parent);
      if (above !== undefined) writer.put({ ...above, children: above.children - 1 });
      writer.remove(key);
      return record;
    });
    // Before its folders go: what has a record has them, whatever happens.
    await this.#records.synced();
    // The snapshot is gone: what fails now is told elsewhere. For an error containerd would give up its garbage collection.
    const { id, lease, project } = record;
    void this.#behind(async () => this.#removals.discard(this.#layout.unplace(id), project));
    if (lease !== undefined) void this.#behind(async () => this.#leases?.release(lease));
    void this.#behind(async () => this.#removals.release(this.#lowers.forget(record, true)));
  }

  async walk(visit: (info: SnapshotInfo) => void | Promise<void>, filters: readonly string[] = []): Promise<void> {
    await this.#opened();
    const passes = parseFilters(filters);
    for (const record of this.#records.each()) {
      const info = infoOf(record);
      if (passes(info)) await visit(info);
    }
  }

  async cleanup(): Promise<void> {
    await this.#opened();
    await Promise.all(this.#pending);
    for (const staged of this.#layout.staged()) if (REMOVED.test(staged)) await this.#layout.discard(staged);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#removals.close();
    await this.#sealer?.close();
    await Promise.all(this.#pending);
    this.#records.close();
    close(this.#lock);
  }
}

const REMOVED = /\/removed-[^/]*$/;
const MADE = /\/new-[^/]*$/;

function taken(key: string): LayerfsError {
  return new LayerfsError('already-exists', `There is a snapshot ${shown(key)} already`);
}
