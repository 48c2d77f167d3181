/** The records of a store as they are, whatever they are: read without trusting any, written back by repairs. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { open, type Database, type RootDatabase } from 'lmdb';
import type { ChainID, Digest, DiffID } from '../../core/digest.js';
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

/** Bytes of a value of `objects`: u32 count, u64 size. */
const COUNT_SIZE = 12;

/** Key in `state`. */
const DELETIONS = Buffer.from('deletions');

/** How a record is named in findings. */
export function recordPath(table: JsonTable | 'objects', key: string): string {
  return `meta:${table}/${key}`;
}

/**
 * Whether the database can be read at all. Tried in a process of its own: LMDB maps its file, and a damaged one can end the
 * process that reads it.
 * @returns undefined, or why not
 */
export function probeMetadata(folder: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  if (!existsSync(join(folder, 'data.mdb'))) return Promise.resolve('there is no data.mdb');
  const program = fileURLToPath(new URL('probe.js', import.meta.url));
  const child = spawn(process.execPath, [program, folder], {
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(signal === undefined ? {} : { signal }),
  });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (part: string) => (text = (text + part).slice(0, 4096)));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, killed) => {
      if (code === 0) resolve(undefined);
      else resolve(killed === null ? lastLine(text) : `reading it ends the process (${killed})`);
    });
  });
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? 'it cannot be read';
}

/** The databases of one store, as bytes. */
export class Metadata {
  readonly #env: RootDatabase;
  readonly #tables: Record<JsonTable | 'objects' | 'state', Database<Buffer, Buffer>>;

  constructor(folder: string) {
    this.#env = open({ path: folder, maxDbs: 16, overlappingSync: false });
    const raw = { encoding: 'binary', keyEncoding: 'binary' } as const;
    this.#tables = this.#env.transactionSync(() => ({
      names: this.#env.openDB<Buffer, Buffer>('names', raw),
      images: this.#env.openDB<Buffer, Buffer>('images', raw),
      layers: this.#env.openDB<Buffer, Buffer>('layers', raw),
      blobs: this.#env.openDB<Buffer, Buffer>('blobs', raw),
      snapshots: this.#env.openDB<Buffer, Buffer>('snapshots', raw),
      leases: this.#env.openDB<Buffer, Buffer>('leases', raw),
      removals: this.#env.openDB<Buffer, Buffer>('removals', raw),
      objects: this.#env.openDB<Buffer, Buffer>('objects', raw),
      state: this.#env.openDB<Buffer, Buffer>('state', raw),
    }));
  }

  /** Forgets what was read: what others wrote since is seen from now on. */
  refresh(): void {
    this.#env.resetReadTxn();
  }

  /** Reads everything but the reference counts. */
  read(): Records {
    const findings: Finding[] = [];
    const tables = Object.fromEntries(TABLES.map((table) => [table, this.#readTable(table, findings)]));
    return { ...(tables as unknown as Omit<Records, 'findings'>), findings };
  }

  #readTable(table: JsonTable, findings: Finding[]): Map<string, unknown> {
    const records = new Map<string, unknown>();
    for (const { key, value } of this.#tables[table].getRange()) {
      const name = key.toString('utf8');
      const record = isKey(table, name) ? FORMS[table](parseJson(value)) : undefined;
      const keyed = table !== 'images' || (record as ImageRecord | undefined)?.digest === name;
      if (record !== undefined && keyed) records.set(name, record);
      else {
        const found = value.toString('utf8').slice(0, 200);
        findings.push({
          kind: 'record-damaged',
          path: recordPath(table, name),
          expected: 'a record of the form in docs/store.md',
          found,
        });
      }
    }
    return records;
  }

  /** Visits the reference counts; a value of another length is visited with count -1. Keys are valid for the visit. */
  counts(visit: (key: Buffer, count: number, size: number) => void): void {
    for (const { key, value } of this.#tables.objects.getRange()) {
      if (value.length !== COUNT_SIZE || key.length !== 32) visit(key, -1, 0);
      else visit(key, value.readUInt32LE(0), Number(value.readBigUInt64LE(4)));
    }
  }

  /** The bytes of a record, for the quarantine. */
  raw(table: JsonTable, key: string): string | undefined {
    return this.#tables[table].get(Buffer.from(key, 'utf8'))?.toString('utf8');
  }

  /** Runs `action` in one transaction, durable when it returns. */
  write<T>(action: (writer: RecordWriter) => T): T {
    return this.#env.transactionSync(() =>
      action({
        set: (table, key, value) => {
          this.#tables[table].putSync(Buffer.from(key, 'utf8'), Buffer.from(JSON.stringify(value), 'utf8'));
        },
        remove: (table, key) => {
          this.#tables[table].removeSync(Buffer.from(key, 'utf8'));
        },
        setCount: (key, count, size) => {
          const value = Buffer.alloc(COUNT_SIZE);
          value.writeUInt32LE(count, 0);
          value.writeBigUInt64LE(BigInt(size), 4);
          this.#tables.objects.putSync(Buffer.from(key), value);
        },
        removeCount: (key) => {
          this.#tables.objects.removeSync(Buffer.from(key));
        },
        countDeletion: () => {
          const known = parseJson(this.#tables.state.get(DELETIONS) ?? Buffer.from('0'));
          const deletions = (typeof known === 'number' ? known : 0) + 1;
          this.#tables.state.putSync(DELETIONS, Buffer.from(String(deletions)));
          return deletions;
        },
      }),
    );
  }

  close(): Promise<void> {
    return this.#env.close();
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
