import { existsSync, readdirSync } from 'node:fs';
import { LayerfsError } from '../core/error.js';
import { RecordFile } from '../records/record-file.js';
import { lockFile } from './locks.js';
import { META_TABLES } from './meta.js';
import type { StorePaths } from './paths.js';

/**
 * Makes the records of a new store.
 * @throws LayerfsError corrupt when it is not new: without a record everything in it would be taken for garbage
 */
export async function makeMeta(paths: StorePaths): Promise<void> {
  if (existsSync(paths.records)) return;
  const used = readdirSync(paths.layers).length > 0;
  // Somebody may have made them, and a layer, since.
  if (existsSync(paths.records)) return;
  if (used) {
    throw new LayerfsError('corrupt', `the store is damaged: ${paths.records} is missing`);
  }
  // Nobody sweeps meanwhile.
  const lock = await lockFile(paths.lock, 'shared');
  try {
    RecordFile.make(paths.records, META_TABLES, paths.ingest);
  } finally {
    lock.release();
  }
}
