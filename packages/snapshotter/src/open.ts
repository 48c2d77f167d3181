import { resolve } from 'node:path';
import { LOCK, close, openat, tryFlock, AT_FDCWD, O } from '@layerfs/linux';
import { LayerfsError, tryKernelMount, type ChainID, type SealedLayer, type Store } from 'layerfs';
import { parseFilters } from './filter.js';
import { Layout } from './folders/layout.js';
import { diskUsage } from './folders/usage.js';
import { Bases, type BaseKind } from './lowers/bases.js';
import { Lowers, type Given } from './lowers/lowers.js';
import { MountedFolders } from './lowers/mounted.js';
import { SnapshotLeases, leaseLabel } from './seal/leases.js';
import { Sealer, type Candidate, type SealWhen } from './seal/sealer.js';
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

/** How to open a snapshotter. */
export interface SnapshotterOptions {
  /** Its folder, made when it is missing. One process at a time uses it. */
  readonly root: string;
  /** Where layers are kept, and taken from. Without one all snapshots are plain folders. Must be open longer than the snapshotter. */
  readonly store?: Store;
  /** How layers of the store are shown; `auto` unless told. */
  readonly mountMode?: MountMode;
  /** When what was unpacked becomes a layer of the store; `behind` unless told. */
  readonly seal?: SealWhen;
  /** Told of what went wrong in the background, such as a folder that could not be removed. */
  readonly onProblem?: (error: unknown) => void;
}

/**
 * How layers of the store are shown to containers: `kernel` as EROFS image whose files have their content from the objects (Linux 6.5),
 * `fuse` as FUSE mount, `folder` as plain files, checked out once for all, `auto` by the kernel where it can.
 */
export type MountMode = 'auto' | 'kernel' | 'fuse' | 'folder';

/**
 * Opens a snapshotter that keeps its snapshots in a folder.
 * @throws LayerfsError failed-precondition when another process uses the folder; invalid-argument for a path that mount
 * options cannot hold; unavailable where the kernel cannot mount as it is to
 */
export function openSnapshotter(options: SnapshotterOptions): Snapshotter {
  const root = resolve(options.root);
  if (/[:,\\"\n]/.test(root)) {
    throw new LayerfsError('invalid-argument', `${root}: overlayfs takes no folder with one of : , \\ " in its path`);
  }
  const layout = new Layout(root);
  const lock = openat(AT_FDCWD, root, O.RDONLY | O.DIRECTORY);
  if (!tryFlock(lock, LOCK.EX)) {
    close(lock);
    throw new LayerfsError('failed-precondition', `${root} is in use by another snapshotter`);
  }
  try {
    return new FolderSnapshotter(layout, lock, options);
  } catch (error) {
    close(lock);
    throw error;
  }
}

function baseKind(mode: MountMode, store: Store): BaseKind {
  if (mode === 'folder' || mode === 'fuse') return mode;
  const { ok, detail } = tryKernelMount(store.root);
  if (ok === true) return 'erofs';
  if (mode === 'auto') return 'folder';
  throw new LayerfsError('unavailable', `Kernel mounts do not work here: ${detail}`);
}

class FolderSnapshotter implements Snapshotter {
  readonly #layout: Layout;
  readonly #records: Records;
  readonly #lock: number;
  readonly #onProblem: (error: unknown) => void;
  readonly #lowers: Lowers;
  readonly #store: Store | undefined;
  readonly #leases: SnapshotLeases | undefined;
  /** Leases of the store and records agree. */
  readonly #reconciled: Promise<void>;
  readonly #seal: SealWhen;
  readonly #sealer: Sealer | undefined;
  /** What goes on in the background. */
  readonly #pending = new Set<Promise<void>>();
  #closed = false;

  constructor(layout: Layout, lock: number, options: SnapshotterOptions) {
    const { store, mountMode = 'auto', onProblem } = options;
    this.#seal = options.seal ?? 'behind';
    this.#layout = layout;
    this.#lock = lock;
    this.#onProblem = onProblem ?? (() => undefined);
    const bases =
      store === undefined ? undefined : new Bases(layout.root, layout.staging, store, baseKind(mountMode, store));
    this.#lowers = new Lowers(layout, bases);
    this.#records = new Records(layout.meta);
    if (store === undefined && this.#records.all().some(({ stack }) => stack !== undefined)) {
      void this.#records.close();
      throw new LayerfsError('failed-precondition', `${layout.root} holds layers of a store: open it with that`);
    }
    this.#pin();
    for (const record of this.#records.all()) this.#lowers.count(record);
    this.#sweep();
    this.#store = store;
    this.#leases = store === undefined ? undefined : new SnapshotLeases(store);
    this.#reconciled = this.#reconcile();
    this.#behind(() => this.#reconciled);
    if (store === undefined || this.#seal === 'never') return;
    this.#sealer = new Sealer({
      store: store.root,
      next: async (except) => this.#sealable(except),
      sealed: (candidate, layer) => this.#sealed(candidate, layer),
      failed: (candidate, error) => {
        if (this.#records.get(candidate.name)?.id === candidate.id) this.#onProblem(error);
      },
    });
    this.#sealer.call();
  }

  async #reconcile(): Promise<void> {
    await this.#leases?.reconcile(this.#records.all(), (name, lease) => {
      this.#records.transaction((writer) => {
        const record = writer.get(name);
        if (record?.stack !== undefined) writer.put({ ...record, lease });
      });
    });
  }

  /** The next folder to be sealed: parents first, and nothing that is mounted. */
  async #sealable(except: ReadonlySet<string>): Promise<Candidate | undefined> {
    await this.#reconciled;
    this.#release(this.#lowers.sweep());
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
    this.#release(this.#lowers.forget(replaced.record, false));
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
    const lease = await this.#leases.create(target, stack.diffIDs);
    let record: SnapshotRecord | undefined;
    try {
      this.#open();
      const { chainID, diffIDs, contentSize: bytes, entries: inodes } = stack;
      record = this.#isOffered(target, parent)
        ? undefined
        : this.#records.transaction((writer) => {
            // Of another parent, as in another namespace of containerd's: that finds it by its labels.
            const name = writer.get(target) === undefined ? target : key;
            const state = { kind: 'committed', stack: { chainID, diffIDs }, lease, usage: { bytes, inodes } } as const;
            return this.#add(writer, name, parent, labels, state);
          });
    } finally {
      if (record === undefined) await this.#leases.release(lease);
    }
    if (record !== undefined) this.#lowers.count(record);
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
    state: Pick<SnapshotRecord, 'kind' | 'given' | 'stack' | 'lease' | 'usage'>,
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
    for (const staged of this.#layout.staged()) this.#discard(staged);
    this.#release(this.#lowers.sweep());
  }

  /** Removes folders that nobody needs any more. */
  #release({ ids, paths }: ReturnType<Lowers['sweep']>): void {
    const mounted = ids.length === 0 ? undefined : new MountedFolders(this.#layout.snapshots);
    for (const id of ids) {
      // By somebody who removed the snapshot first, or had it committed: there is another sweep.
      if (mounted?.has(id) === true) continue;
      this.#discard(this.#layout.unplace(id));
      this.#lowers.removed(id);
    }
    for (const path of paths) this.#discard(this.#layout.takeAway(path));
  }

  #discard(staged: string | undefined): void {
    if (staged === undefined) return;
    this.#behind(() => this.#layout.discard(staged));
  }

  /** Does something in the background. */
  #behind(action: () => Promise<void>): void {
    const work = action()
      .catch(this.#onProblem)
      .finally(() => this.#pending.delete(work));
    this.#pending.add(work);
  }

  #open(): void {
    if (this.#closed) throw new LayerfsError('failed-precondition', 'The snapshotter is closed');
  }

  #get(key: string, from: Pick<RecordWriter, 'get'> = this.#records): SnapshotRecord {
    const record = from.get(checkKey(key, 'key'));
    if (record === undefined) throw new LayerfsError('not-found', `There is no snapshot ${shown(key)}`);
    return record;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- a rejected promise, not an exception
  async stat(key: string): Promise<SnapshotInfo> {
    this.#open();
    return infoOf(this.#get(key));
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async update(info: Pick<SnapshotInfo, 'name' | 'labels'>, fields: readonly string[] = []): Promise<SnapshotInfo> {
    this.#open();
    return this.#records.transaction((writer) => {
      const record = this.#get(info.name, writer);
      const labels = checkLabels(fields.length === 0 ? info.labels : updated(record, info.labels, fields));
      const changed = { ...record, labels, updated: now(record.updated) };
      writer.put(changed);
      return infoOf(changed);
    });
  }

  async usage(key: string): Promise<Usage> {
    this.#open();
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
    this.#open();
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
    this.#open();
    if (signal?.aborted === true) throw new LayerfsError('aborted', 'interrupted');
    checkKey(key, 'key');
    checkLabels(labels);
    // Before anything is made.
    this.#parent(parentName, this.#records);
    if (this.#records.get(key) !== undefined) throw taken(key);
    if (kind === 'active' && (await this.#offer(key, parentName, labels))) throw taken(labels[REMOTE] ?? '');
    const given = await this.#ready(parentName);
    if (this.#records.get(key) !== undefined) throw taken(key);
    const staged = this.#layout.stage(this.#lowers.root(given), kind === 'active');
    let record: SnapshotRecord;
    try {
      record = this.#records.transaction((writer) => {
        const made = this.#add(writer, key, parentName, labels, { kind, given });
        // Within: what has a record has its folders. A crash before the commit leaves folders without a record.
        this.#layout.place(staged, made.id);
        return made;
      });
    } catch (error) {
      this.#discard(staged);
      throw error;
    }
    this.#lowers.count(record);
    return this.#lowers.mounts(record, given);
  }

  /** What a new snapshot on a parent stands on, ready to be mounted: nothing happens between this and what follows. */
  async #ready(parent: string | undefined): Promise<Given> {
    for (;;) {
      const given = this.#lowers.plan(this.#parent(parent, this.#records), (name) => this.#get(name));
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
    this.#open();
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
    if (this.#seal === 'commit') await this.#sealer?.run();
    else this.#sealer?.call();
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async remove(key: string): Promise<void> {
    this.#open();
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
    this.#discard(this.#layout.unplace(record.id));
    const { lease } = record;
    if (lease !== undefined) this.#behind(async () => this.#leases?.release(lease));
    this.#release(this.#lowers.forget(record, true));
  }

  async walk(visit: (info: SnapshotInfo) => void | Promise<void>, filters: readonly string[] = []): Promise<void> {
    this.#open();
    const passes = parseFilters(filters);
    for (const record of this.#records.each()) {
      const info = infoOf(record);
      if (passes(info)) await visit(info);
    }
  }

  async cleanup(): Promise<void> {
    this.#open();
    await Promise.all(this.#pending);
    for (const staged of this.#layout.staged()) if (REMOVED.test(staged)) await this.#layout.discard(staged);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#sealer?.close();
    await Promise.all(this.#pending);
    await this.#records.close();
    close(this.#lock);
  }
}

const REMOVED = /\/removed-[^/]*$/;

function taken(key: string): LayerfsError {
  return new LayerfsError('already-exists', `There is a snapshot ${shown(key)} already`);
}

function infoOf({ kind, name, parent, labels, created, updated: changed }: SnapshotRecord): SnapshotInfo {
  return {
    kind,
    name,
    ...(parent === undefined ? {} : { parent }),
    labels,
    created: BigInt(created),
    updated: BigInt(changed),
  };
}

/** Nanoseconds since 1970, in decimal; later than `after`. */
function now(after?: string): string {
  const time = BigInt(Math.floor((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
  const least = after === undefined ? 0n : BigInt(after) + 1n;
  return String(time > least ? time : least);
}

function updated(
  record: SnapshotRecord,
  labels: SnapshotInfo['labels'],
  fields: readonly string[],
): SnapshotInfo['labels'] {
  const changed = new Map(Object.entries(record.labels));
  for (const field of fields) {
    if (field === 'labels') {
      changed.clear();
      for (const [key, value] of Object.entries(labels)) changed.set(key, value);
    } else if (field.startsWith('labels.')) {
      const key = field.slice('labels.'.length);
      const value = Object.hasOwn(labels, key) ? labels[key] : '';
      // As containerd does it: an empty value takes the label away.
      if (value === '') changed.delete(key);
      else changed.set(key, value);
    } else throw new LayerfsError('invalid-argument', `The field ${shown(field)} cannot be changed`);
  }
  return Object.fromEntries(changed);
}
