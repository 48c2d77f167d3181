/** The records of a store as they are, whatever they are: read without trusting any, written back by repairs. */
import type { ChainID, Digest, DiffID } from '../../core/digest.js';
import { codeOf, RecordFile } from '../../records/record-file.js';
import { LayerfsError } from '../../core/error.js';
import { META_TABLES } from '../meta.js';
import type { BlobRecord, ImageRecord, LayerRecord, LeaseRecord, RemovalRecord, SnapshotRecord } from '../meta.js';
import type { Finding } from './problem.js';
import { FORMS, isKey, parseJson, type JsonTable } from './record-forms.js';

/** What the records say, as far as they can be read. */
export interface Records {
  readonly names: Map<string, Digest>;
  readonly images: Map<Digest, ImageRecord>;
  readonly layers: Map<DiffID, LayerRecord>;
  readonly blobs: Map<Digest, BlobRecord>;
  readonly snapshots: Map<string, SnapshotRecord>;
  readonly leases: Map<string, LeaseRecord>;
  /** Layers that are being removed. */
  readonly removals: Map<DiffID, RemovalRecord>;
  /** Those that cannot. */
  readonly findings: readonly Finding[];
}

const TABLES = [
  'names',
  'images',
  'layers',
  'blobs',
  'snapshots',
  'leases',
  'removals',
] as const satisfies readonly JsonTable[];

/** How a record is named in findings. */
export function recordPath(table: JsonTable | 'objects', key: string): string {
  return `meta:${table}/${key}`;
}

/** Whether the records can be read at all. @returns undefined, or why not */
export function probeRecords(path: string): string | undefined {
  try {
    const file = new RecordFile(path);
    try {
      const wrong = file.check();
      if (wrong !== undefined) return wrong;
      for (const table of [...TABLES, 'objects', 'used', 'state']) file.select(`select row(count(*)) from ${table}`);
      return undefined;
    } finally {
      file.close();
    }
  } catch (error) {
    if (error instanceof LayerfsError || codeOf(error) !== undefined) return (error as Error).message;
    throw error;
  }
}

/** The records of one store, as they are. */
export class Metadata {
  readonly #file: RecordFile;

  constructor(path: string) {
    this.#file = new RecordFile(path);
  }

  /** Makes new ones, where there are none. */
  static make(path: string, scratch: string): Metadata {
    RecordFile.make(path, META_TABLES, scratch);
    return new Metadata(path);
  }

  /** See {@link RecordFile.reading}. */
  reading<T>(action: () => T): T {
    return this.#file.reading(action);
  }

  /** Reads everything but the reference counts. */
  read(): Records {
    const findings: Finding[] = [];
    const tables = Object.fromEntries(TABLES.map((table) => [table, this.#readTable(table, findings)]));
    return { ...(tables as unknown as Omit<Records, 'findings'>), findings };
  }

  #readTable(table: JsonTable, findings: Finding[]): Map<string, unknown> {
    const records = new Map<string, unknown>();
    const rows = this.#file.select(`select row(key, value) from ${table} order by key`) as [
      key: string,
      value: string,
    ][];
    for (const [key, value] of rows) {
      const record = isKey(table, key) ? FORMS[table](parseJson(value)) : undefined;
      const keyed = table !== 'images' || (record as ImageRecord | undefined)?.digest === key;
      if (record !== undefined && keyed) records.set(key, record);
      else {
        findings.push({
          kind: 'record-damaged',
          path: recordPath(table, key),
          expected: 'a record of the form in docs/store.md',
          found: value.slice(0, 200),
        });
      }
    }
    return records;
  }

  /** Visits the reference counts; what cannot be one is visited with count -1. */
  counts(visit: (key: Buffer, count: number, size: number) => void): void {
    for (const [sha256, layers, size] of this.#file.pages('objects', ['sha256', 'layers', 'size'])) {
      const key = Buffer.from(sha256 as Uint8Array);
      const right = key.length === 32 && (layers as number) > 0 && (size as number) >= 0;
      visit(key, right ? (layers as number) : -1, size as number);
    }
  }

  /** The text of a record, for the quarantine. */
  raw(table: JsonTable, key: string): string | undefined {
    return this.#file.value(table, key);
  }

  /** Runs `action` in one transaction, durable when it returns. */
  write<T>(action: (writer: RecordWriter) => T): T {
    const file = this.#file;
    const set = (table: string, key: string, value: unknown): void => {
      file.put(table, key, JSON.stringify(value));
    };
    return file.transaction(() =>
      action({
        set,
        remove: (table, key) => file.remove(table, key),
        setCount: (key, count, size) =>
          file.change('insert or replace into objects values (given(0), given(1), given(2))', key, count, size),
        removeCount: (key) => file.change('delete from objects where sha256 = given(0)', key),
        countDeletion: () => {
          const known = parseJson(file.value('state', 'deletions') ?? '0');
          const deletions = (typeof known === 'number' ? known : 0) + 1;
          set('state', 'deletions', deletions);
          return deletions;
        },
      }),
    );
  }

  /** See {@link RecordFile.settle}. */
  settle(): void {
    this.#file.settle();
  }

  close(): void {
    this.#file.close();
  }
}

/** What a repair may change. */
export interface RecordWriter {
  set(table: JsonTable, key: string, value: unknown): void;
  remove(table: JsonTable, key: string): void;
  setCount(key: Uint8Array, count: number, size: number): void;
  removeCount(key: Uint8Array): void;
  /** Says that objects are taken away, and gives the number of it (store.md, "Removing"). */
  countDeletion(): number;
}

/** An image that the records name, or one of a snapshot or lease, which may have been removed. */
export interface NeededImage {
  readonly record: ImageRecord;
  /** Its names; `snapshot NAME` for a snapshot's, `lease ID` for a lease's. */
  readonly labels: readonly string[];
  /** What must stay because of the chain it has. */
  readonly chainID: ChainID;
}

/** All images that must be whole. */
export function neededImages(records: Records): NeededImage[] {
  const named = new Map<Digest, string[]>();
  for (const [name, digest] of records.names) {
    const names = named.get(digest);
    if (names === undefined) named.set(digest, [name]);
    else names.push(name);
  }
  const needed: NeededImage[] = [];
  for (const [digest, record] of records.images) {
    needed.push({ record, labels: named.get(digest) ?? [digest], chainID: record.chainID });
  }
  for (const [name, { image }] of records.snapshots) {
    needed.push({ record: image, labels: [`snapshot ${name}`], chainID: image.chainID });
  }
  for (const [id, { images }] of records.leases) {
    for (const record of images) {
      // While the image itself is there, it is told by its names.
      if (!records.images.has(record.digest)) needed.push({ record, labels: [`lease ${id}`], chainID: record.chainID });
    }
  }
  return needed;
}
