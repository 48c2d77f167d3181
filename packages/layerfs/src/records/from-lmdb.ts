/** What older versions of layerfs kept in LMDB. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';

/** LMDB's data, its lock, and ours. */
const FILES = ['data.mdb', 'lock.mdb', 'turn'];

/** A record as it lies there. */
export interface OldRecord {
  readonly table: string;
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Whether a folder has such records. */
export function hasOldRecords(folder: string): boolean {
  return existsSync(join(folder, FILES[0]));
}

/** All records of a folder that nobody else has open. */
export function readOldRecords(folder: string): OldRecord[] {
  const env = open({ path: folder, maxDbs: 16, overlappingSync: false });
  try {
    const records: OldRecord[] = [];
    for (const name of env.getKeys()) {
      const table = String(name);
      const database = env.openDB<Buffer, Buffer>(table, { encoding: 'binary', keyEncoding: 'binary' });
      // The buffers are LMDB's, for a moment.
      for (const { key, value } of database.getRange()) {
        records.push({ table, key: Buffer.from(key), value: Buffer.from(value) });
      }
    }
    return records;
  } finally {
    // Nothing is under way, so that it is done when it returns.
    void env.close();
  }
}

/** Takes them away. They are on disk in another form. */
export function removeOldRecords(folder: string): void {
  for (const name of FILES) rmSync(join(folder, name), { force: true });
}
