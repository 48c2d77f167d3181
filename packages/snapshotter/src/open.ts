import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { LOCK, close, openat, tryFlock, AT_FDCWD, O } from '@layerfs/linux';
import { LayerfsError } from 'layerfs';
import { parseFilters } from './filter.js';
import { Layout } from './folders/layout.js';
import { planMounts } from './folders/mounts.js';
import { diskUsage } from './folders/usage.js';
import { Records, checkKey, checkLabels, shown, type RecordWriter, type SnapshotRecord } from './records.js';
import type { CommitOptions, Kind, Mount, PrepareOptions, SnapshotInfo, Snapshotter, Usage } from './snapshotter.js';

/** How to open a snapshotter. */
export interface SnapshotterOptions {
  /** Its folder, made when it is missing. One process at a time uses it. */
  readonly root: string;
  /** Told of what went wrong in the background, such as a folder that could not be removed. */
  readonly onProblem?: (error: unknown) => void;
}

/**
 * Opens a snapshotter that keeps its snapshots in a folder.
 * @throws LayerfsError failed-precondition when another process uses the folder; invalid-argument for a path that mount
 * options cannot hold
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
  return new FolderSnapshotter(layout, lock, options.onProblem ?? (() => undefined));
}

class FolderSnapshotter implements Snapshotter {
  readonly #layout: Layout;
  readonly #records: Records;
  readonly #lock: number;
  readonly #onProblem: (error: unknown) => void;
  readonly #overlayOptions: readonly string[];
  /** What goes on in the background. */
  readonly #pending = new Set<Promise<void>>();
  #closed = false;

  constructor(layout: Layout, lock: number, onProblem: (error: unknown) => void) {
    this.#layout = layout;
    this.#lock = lock;
    this.#onProblem = onProblem;
    this.#records = new Records(layout.meta);
    // With an index, an upper could not be mounted again over lowers that were moved or copied.
    this.#overlayOptions = existsSync('/sys/module/overlay/parameters/index') ? ['index=off'] : [];
    this.#sweep();
  }

  /** What a crash left: half-made, half-removed, or without a record. */
  #sweep(): void {
    const known = new Set(this.#records.all().map(({ id }) => id));
    for (const id of this.#layout.placed()) if (!known.has(id)) this.#layout.unplace(id);
    for (const staged of this.#layout.staged()) this.#discard(staged);
  }

  #discard(staged: string | undefined): void {
    if (staged === undefined) return;
    const work = this.#layout
      .discard(staged)
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

  // eslint-disable-next-line @typescript-eslint/require-await
  async mounts(key: string): Promise<readonly Mount[]> {
    this.#open();
    return this.#mounts(this.#get(key));
  }

  #mounts(record: SnapshotRecord): readonly Mount[] {
    const { kind, id, name } = record;
    if (kind === 'committed') throw new LayerfsError('failed-precondition', `Snapshot ${shown(name)} is committed`);
    const lowers: string[] = [];
    for (let { parent } = record; parent !== undefined;) {
      const above = this.#get(parent);
      lowers.push(this.#layout.fs(above.id));
      ({ parent } = above);
    }
    return planMounts({ kind, fs: this.#layout.fs(id), work: this.#layout.work(id), lowers }, this.#overlayOptions);
  }

  prepare(key: string, parent: string | undefined, options?: PrepareOptions): Promise<readonly Mount[]> {
    return this.#create('active', key, parent, options);
  }

  view(key: string, parent: string | undefined, options?: PrepareOptions): Promise<readonly Mount[]> {
    return this.#create('view', key, parent, options);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
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
    const parent = this.#parent(parentName, this.#records);
    if (this.#records.get(key) !== undefined) throw taken(key);
    const staged = this.#layout.stage(parent?.id, kind === 'active');
    try {
      const record = this.#records.transaction((writer) => {
        const above = this.#parent(parentName, writer);
        if (writer.get(key) !== undefined) throw taken(key);
        const created = now();
        const made: SnapshotRecord = {
          id: writer.nextID(),
          kind,
          name: key,
          ...(above === undefined ? {} : { parent: above.name }),
          labels,
          created,
          updated: created,
          children: 0,
        };
        writer.put(made);
        if (above !== undefined) writer.put({ ...above, children: above.children + 1 });
        // Within: what has a record has its folders. A crash before the commit leaves folders without a record.
        this.#layout.place(staged, made.id);
        return made;
      });
      return this.#mounts(record);
    } catch (error) {
      this.#discard(staged);
      throw error;
    }
  }

  #parent(name: string | undefined, from: Pick<RecordWriter, 'get'>): SnapshotRecord | undefined {
    if (name === undefined || name === '') return undefined;
    const record = from.get(checkKey(name, 'parent'));
    if (record === undefined) throw new LayerfsError('not-found', `There is no parent ${shown(name)}`);
    if (record.kind === 'committed') return record;
    throw new LayerfsError('invalid-argument', `The parent ${shown(name)} is not committed`);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
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
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async remove(key: string): Promise<void> {
    this.#open();
    const { id } = this.#records.transaction((writer) => {
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
    this.#discard(this.#layout.unplace(id));
  }

  async walk(visit: (info: SnapshotInfo) => void | Promise<void>, filters: readonly string[] = []): Promise<void> {
    this.#open();
    const passes = parseFilters(filters);
    for (const record of this.#records.all()) {
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
    } else throw new LayerfsError('invalid-argument', `The field ${JSON.stringify(field)} cannot be changed`);
  }
  return Object.fromEntries(changed);
}
