import { createHash } from 'node:crypto';
import { LayerfsError, type Stack } from 'layerfs';
import { open, type Database, type RootDatabase } from 'lmdb';
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

/**
 * The records of all snapshots: an LMDB environment with the databases `snapshots` (key: sha256 of the name in hex, because
 * names may be longer than keys can be; value: {@link SnapshotRecord} as JSON) and `counters`.
 */
export class Records {
  readonly #env: RootDatabase;
  readonly #snapshots: Database<SnapshotRecord, string>;
  readonly #counters: Database<number, string>;

  constructor(folder: string) {
    // Without overlapping sync a transaction is on disk when it returns.
    this.#env = open({ path: folder, maxDbs: 4, overlappingSync: false });
    this.#env.readerCheck();
    this.#snapshots = this.#env.openDB<SnapshotRecord, string>('snapshots', { encoding: 'json' });
    this.#counters = this.#env.openDB<number, string>('counters', { encoding: 'json' });
  }

  get(name: string): SnapshotRecord | undefined {
    return this.#snapshots.get(recordKey(name));
  }

  /** All records as they are at this moment. */
  all(): SnapshotRecord[] {
    return [...this.#snapshots.getRange()].map(({ value }) => value);
  }

  /** All records, a few at a time: who takes them slowly holds no more than these. What changes meanwhile may be seen. */
  *each(): Generator<SnapshotRecord> {
    for (let start: string | undefined; ;) {
      const from = start === undefined ? {} : { start, exclusiveStart: true };
      const page = [...this.#snapshots.getRange({ ...from, limit: PAGE })];
      for (const { value } of page) yield value;
      start = page.at(-1)?.key;
      if (start === undefined) return;
    }
  }

  transaction<T>(action: (writer: RecordWriter) => T): T {
    return this.#env.transactionSync(() =>
      action({
        get: (name) => this.get(name),
        put: (record) => {
          this.#snapshots.putSync(recordKey(record.name), record);
        },
        remove: (name) => {
          this.#snapshots.removeSync(recordKey(name));
        },
        nextID: () => {
          const next = (this.#counters.get('id') ?? 0) + 1;
          this.#counters.putSync('id', next);
          return String(next);
        },
      }),
    );
  }

  close(): Promise<void> {
    return this.#env.close();
  }
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
