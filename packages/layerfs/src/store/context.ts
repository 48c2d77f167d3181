import type { Xxhash } from './hash.js';
import type { Meta } from './meta.js';
import type { StorePaths } from './paths.js';
import type { StoreLock } from './store-lock.js';

/** What every operation of an open store works with. */
export interface StoreContext {
  readonly paths: StorePaths;
  readonly meta: Meta;
  readonly lock: StoreLock;
  readonly xxhash: Xxhash;
}
