import type { Figure } from '../harness.js';
import { benchDiskUse } from './disk-use.js';
import { benchLargeStore } from './large-store.js';

/** What a store of a million objects costs, and how much disk many versions of one image take. */
export async function benchScale(quick: boolean): Promise<Figure[]> {
  return [...(await benchLargeStore(quick)), ...(await benchDiskUse(quick))];
}
