import type { Xxhash } from './hash.js';
import type { Meta } from './meta.js';
import type { StorePaths } from './paths.js';

/** What every operation of an open store works with. */
export interface StoreContext {
  readonly paths: StorePaths;
  readonly meta: Meta;
  readonly xxhash: Xxhash;
}
