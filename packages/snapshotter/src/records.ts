import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { LayerfsError, type Stack } from 'layerfs';
import {
  hasOldRecords,
  readOldRecords,
  RecordFile,
  removeOldRecords,
  type Cell,
  type OldRecord,
} from 'layerfs/records';
import type { Layout } from './folders/layout.js';
import type { Given } from './lowers/lowers.js';
import type { Kind, Labels, Usage } from './snapshotter.js';

/** What is kept of a snapshot. */
export interface SnapshotRecord {
  /** Names its folder: digits. */
  readonly id: string;
  readonly kind: Kind;
  /** Its key, or its name when committed. */
  readonly name: string;
  /** Name of its parent; absent for a base. */
  readonly parent?: string;
  readonly labels: Labels;
  /** Nanoseconds since 1970, in decimal. */
  readonly created: string;
  readonly updated: string;
  /** How many snapshots stand on it. */
  readonly children: number;
  /** Of a committed one, when it was counted. */
  readonly usage?: Usage;
  /** What it stands on: of an active one, a view, and a committed one that was active and is no stack yet. */
  readonly given?: Given;
  /** Of a committed one: the layers of the store that show it and all below it. Then it needs no folders. */
  readonly stack?: Stack;
  /** With a stack: ID of the store's lease on its layers. */
  readonly lease?: string;
  /** The project of its filesystem that limits what it may hold. */
  readonly project?: number;
}

/** Changes within one transaction: all of them are made, or none. */
export interface RecordWriter {
  get(name: string): SnapshotRecord | undefined;
  put(record: SnapshotRecord): void;
  remove(name: string): void;
  /** A number that was never given before, as digits. */
  nextID(): string;
}

/** Records that {@link Records.each} holds at once. */
const PAGE = 8;

/** So many records, and names that have none, are kept in memory as text, unless that is longer. */
const KEPT = 2048;
const LONGEST_KEPT = 4096;

/** A name, and its record as JSON; undefined: there is none any more. */
type Entry = readonly [name: string, value: string | undefined];
/** Entries that are written by one call. */
const AT_ONCE = 100;

/** Longest key or name, in bytes of UTF-8. */
const MAX_KEY = 64 * 1024;

const TABLES = `create table snapshots (key text primary key, value text not null) strict, without rowid;
  create table counters (key text primary key, value integer not null) strict, without rowid`;

/**
 * The records of all snapshots: SQLite's tables `snapshots` (key: sha256 of the name in hex, because names may be long; value:
 * {@link SnapshotRecord} as JSON) and `counters`.
 */
export class Records {
  readonly #file: RecordFile;
  /** By name, the longest kept first: records as JSON; undefined: there is none. */
  readonly #kept = new Map<string, string | undefined>();
  /** All records are among those kept: of most names that are asked for there is none, and nobody has to look. */
  #keepsAll = true;
  /** That was given last, and the last one in the file. */
  #id: number;
  #writtenID: number;

  /** @param layout one that nobody else uses */
  constructor({ meta, staging }: Pick<Layout, 'meta' | 'staging'>) {
    const path = join(meta, 'records');
    const old = hasOldRecords(meta) && !existsSync(path) ? readOldRecords(meta) : [];
    RecordFile.make(path, TABLES, staging, (file) => copyOld(file, old));
    removeOldRecords(meta);
    this.#file = new RecordFile(path, { sole: true });
    const [found] = this.#file.select("select row(value) from counters where key = 'id'");
    this.#id = this.#writtenID = Number(found?.[0] ?? 0);
    for (const [value] of this.#file.select('select row(value) from snapshots limit given(0)', KEPT + 1)) {
      this.#keep(parse(value).name, value as string);
    }
  }

  get(name: string): SnapshotRecord | undefined {
    let value = this.#kept.get(name);
    if (value === undefined && !this.#keepsAll && !this.#kept.has(name)) {
      value = this.#file.value('snapshots', recordKey(name));
      this.#keep(name, value);
    }
    return value === undefined ? undefined : parse(value);
  }

  #keep(name: string, value: string | undefined): void {
    this.#kept.delete(name);
    if (value === undefined && this.#keepsAll) return;
    if (name.length + (value?.length ?? 0) > LONGEST_KEPT) {
      this.#keepsAll = false;
      return;
    }
    this.#kept.set(name, value);
    if (this.#kept.size <= KEPT) return;
    this.#keepsAll = false;
    const [oldest = ''] = this.#kept.keys();
    this.#kept.delete(oldest);
  }

  /** All records as they are at this moment. */
  all(): SnapshotRecord[] {
    return this.#file.select('select row(value) from snapshots order by key').map(([value]) => parse(value));
  }

  /** All records, a few at a time: who takes them slowly holds no more than these. What changes meanwhile may be seen. */
  *each(): Generator<SnapshotRecord> {
    for (const [, value] of this.#file.pages('snapshots', ['key', 'value'], PAGE)) yield parse(value);
  }

  /** All changes are made when it returns, and on disk when {@link synced} says so; when it throws, none was made. */
  transaction<T>(action: (writer: RecordWriter) => T): T {
    const changed = new Map<string, SnapshotRecord | undefined>();
    const result = action({
      get: (name) => (changed.has(name) ? changed.get(name) : this.get(name)),
      put: (record) => void changed.set(record.name, record),
      remove: (name) => void changed.set(name, undefined),
      // Given once, whatever becomes of the transaction: there may be a folder of that name.
      nextID: () => String(++this.#id),
    });
    const entries = [...changed].map(([name, record]): Entry => [
      name,
      record === undefined ? undefined : JSON.stringify(record),
    ]);
    this.#file.transaction(() => {
      for (let at = 0; at < entries.length; at += AT_ONCE) this.#write(entries.slice(at, at + AT_ONCE));
    });
    if (entries.length > 0) this.#writtenID = this.#id;
    for (const [name, value] of entries) this.#keep(name, value);
    return result;
  }

  /** By one call: what each call costs is more than what it writes. */
  #write(entries: readonly Entry[]): void {
    const given: Cell[] = [this.#id];
    const statements = this.#id === this.#writtenID ? [] : ["insert or replace into counters values ('id', given(0))"];
    for (const [name, value] of entries) {
      const at = given.push(recordKey(name)) - 1;
      if (value === undefined) statements.push(`delete from snapshots where key = given(${at})`);
      else statements.push(`insert or replace into snapshots values (given(${at}), given(${given.push(value) - 1}))`);
    }
    this.#file.change(statements.join('; '), ...given);
  }

  /** Ends when all transactions up to now are on disk. */
  synced(): Promise<void> {
    return this.#file.synced();
  }

  close(): void {
    this.#file.close();
  }
}

function parse(value: Cell): SnapshotRecord {
  return JSON.parse(value as string) as SnapshotRecord;
}

/** Older versions had their records in LMDB. */
function copyOld(file: RecordFile, old: readonly OldRecord[]): void {
  file.transaction(() => {
    for (const { table, key, value } of old) {
      if (table === 'counters') file.change("insert into counters values ('id', given(0))", Number(value.toString()));
      else file.put('snapshots', key.toString(), value.toString());
    }
  });
}

function recordKey(name: string): string {
  return hash('sha256', name);
}

/** @throws LayerfsError invalid-argument for a key or name that cannot be one */
export function checkKey(key: string, what: string): string {
  if (key === '') throw new LayerfsError('invalid-argument', `The ${what} is empty`);
  if (Buffer.byteLength(key) > MAX_KEY) {
    throw new LayerfsError(
      'invalid-argument',
      `The ${what} ${JSON.stringify(`${key.slice(0, 60)}…`)} has more than ${MAX_KEY} bytes`,
    );
  }
  return key;
}

/** containerd's limit on a label: key and value together. */
const MAX_LABEL = 4096;
/** All labels of a snapshot: what is known of one has to fit well into a message. */
const MAX_LABELS = 1 << 20;

/** @throws LayerfsError invalid-argument for a label that is too long, or too many of them */
export function checkLabels(labels: Labels): Labels {
  let length = 0;
  for (const [key, value] of Object.entries(labels)) {
    length += Buffer.byteLength(key) + Buffer.byteLength(value);
    if (length > MAX_LABELS) {
      throw new LayerfsError('invalid-argument', `The labels have more than ${MAX_LABELS} bytes together`);
    }
    if (Buffer.byteLength(key) + Buffer.byteLength(value) <= MAX_LABEL) continue;
    throw new LayerfsError(
      'invalid-argument',
      `The label ${JSON.stringify(`${key.slice(0, 60)}…`)} has more than ${MAX_LABEL} bytes with its value`,
    );
  }
  return labels;
}

/** A key for messages. */
export function shown(key: string): string {
  return JSON.stringify(key.length > 200 ? `${key.slice(0, 200)}…` : key);
}
