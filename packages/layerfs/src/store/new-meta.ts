import { existsSync, linkSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from './errors.js';
import { lockFile } from './locks.js';
import { Meta } from './meta.js';
import type { StorePaths } from './paths.js';

const FILE = 'data.mdb';

/**
 * Makes the records of a new store, elsewhere, and gives them their place once they are on disk: LMDB cannot open, and the
 * binding of it does not survive, a file of which the beginning was lost.
 */
export async function makeMeta(paths: StorePaths): Promise<void> {
  const target = join(paths.meta, FILE);
  if (existsSync(target)) return;
  // Nobody sweeps meanwhile.
  const lock = await lockFile(paths.lock, 'shared');
  try {
    const folder = mkdtempSync(join(paths.ingest, 'meta-'));
    try {
      await new Meta(folder).close();
      linkSync(join(folder, FILE), target);
    } catch (error) {
      // Another process was first.
      if (!isErrno(error, 'EEXIST')) throw error;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  } finally {
    lock.release();
  }
}
