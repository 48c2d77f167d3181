/** Version 2 to 3. Version 3 has its records in SQLite, no longer in LMDB. What they say is as it was. */
import { mkdirSync } from 'node:fs';
import { LayerfsError } from '../../core/error.js';
import { hasOldRecords, readOldRecords, removeOldRecords, type OldRecord } from '../../records/from-lmdb.js';
import { RecordFile } from '../../records/record-file.js';
import { META_TABLES } from '../meta.js';
import type { StorePaths } from '../paths.js';

const JSON_TABLES = new Set(['names', 'images', 'layers', 'blobs', 'snapshots', 'leases', 'removals', 'used', 'state']);

/** A program of version 2 that has the store open holds its version file, so that nobody has. */
export function migrate2to3(paths: StorePaths): boolean {
  const old = hasOldRecords(paths.meta) ? readOldRecords(paths.meta) : [];
  mkdirSync(paths.ingest, { recursive: true, mode: 0o700 });
  mkdirSync(paths.meta, { recursive: true, mode: 0o700 });
  RecordFile.make(paths.records, META_TABLES, paths.ingest, (file) => {
    file.transaction(() => {
      for (const record of old) copy(file, record);
    });
  });
  removeOldRecords(paths.meta);
  return true;
}

function copy(file: RecordFile, { table, key, value }: OldRecord): void {
  if (JSON_TABLES.has(table)) {
    file.put(table, key.toString('utf8'), value.toString('utf8'));
  } else if (table === 'objects' && key.length === 32 && value.length === 12) {
    // u32 number of layers, u64 size.
    const [layers, size] = [value.readUInt32LE(0), Number(value.readBigUInt64LE(4))];
    file.change('insert into objects values (given(0), given(1), given(2))', key, layers, size);
  } else throw new LayerfsError('corrupt', `the store has a record that is none: meta:${table}/${key.toString('hex')}`);
}
