import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { homedir } from 'node:os';
import type { Names } from './candidates.js';

/** As long as somebody who pressed a key should wait for a store that is being changed. */
const PATIENCE = 2000;

/** Names of a store for completion: none where it is not there or cannot be read, as that is no moment for errors. */
export const namesOf: Names = async (kind, typed) => {
  const { defaultRoot, openStore } = await import('layerfs/store');
  const root = typed?.replace(/^~(?=\/|$)/, homedir()) ?? defaultRoot();
  // Opening would make it.
  if (!existsSync(join(root, 'meta'))) return [];
  try {
    const store = await openStore({ root, signal: AbortSignal.timeout(PATIENCE) });
    try {
      switch (kind) {
        case 'image':
          return store.images().map((image) => image.name ?? image.digest);
        case 'snapshot':
          return store.snapshots().map(({ name }) => name);
        case 'lease':
          return store.leases.list().map(({ id }) => id);
        case 'mountpoint':
        default: {
          const { listMounts } = await import('layerfs');
          return listMounts(store.root).map(({ mountpoint }) => mountpoint);
        }
      }
    } finally {
      await store.close();
    }
  } catch (error) {
    if (error instanceof Error) return [];
    throw error;
  }
};
