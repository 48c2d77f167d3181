import { createHash } from 'node:crypto';
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

/** Changes within one transaction: all of them are on disk afterwards, or none. */
export interface RecordWriter {
  get(name: string): SnapshotRecord | undefined;
  put(record: SnapshotRecord): void;
  remove(name: string): void;
  /** A number that was never given before, as digits. */
  nextID(): string;
}

/** Records that {@link Records.each} holds at once. */
const PAGE = 8;

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

  /** @param layout one that nobody else uses */
  constructor({ meta, staging }: Pick<Layout, 'meta' | 'staging'>) {
    const path = join(meta, 'records');
    const old = hasOldRecords(meta) && !existsSync(path) ? readOldRecords(meta) : [];
    RecordFile.make(path, TABLES, staging, (file) => copyOld(file, old));
    removeOldRecords(meta);
    this.#file = new RecordFile(path);
  }

  get(name: string): SnapshotRecord | undefined {
    const value = this.#file.value('snapshots', recordKey(name));
    return value === undefined ? undefined : parse(value);
  }

  /** All records as they are at this moment. */
  all(): SnapshotRecord[] {
    return this.#file.select('select row(value) from snapshots order by key').map(([value]) => parse(value));
  }

  /** All records, a few at a time: who takes them slowly holds no more than these. What changes meanwhile may be seen. */
  *each(): Generator<SnapshotRecord> {
    for (const [, value] of this.#file.pages('snapshots', ['key', 'value'], PAGE)) yield parse(value);
  }

  transaction<T>(action: (writer: RecordWriter) => T): T {
    const file = this.#file;
    return file.transaction(() =>
      action({
        get: (name) => this.get(name),
        put: (record) => {
          file.put('snapshots', recordKey(record.name), JSON.stringify(record));
        },
        remove: (name) => {
          file.remove('snapshots', recordKey(name));
        },
        nextID: () => {
          file.change("insert into counters values ('id', 1) on conflict (key) do update set value = value + 1");
          const [[id]] = file.select("select row(value) from counters where key = 'id'");
          return String(id);
        },
      }),
    );
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
  return createHash('sha256').update(name).digest('hex');
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
