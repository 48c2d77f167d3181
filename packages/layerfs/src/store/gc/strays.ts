/** Objects that no layer lists and nothing counts. Nobody makes them; but if somebody did, they would stay for ever. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { StoreContext } from '../context.js';
import { checkAborted } from '../errors.js';
import type { Tally } from './collect.js';
import { turn } from './counts.js';
import type { ObjectTable } from './object-table.js';
import { discardObjects } from './trash.js';

const PREFIX = /^[0-9a-f]{2}$/;
const REST = /^[0-9a-f]{62}$/;
const PIECE = 256;

/** Names of objects that have no record and are not in the table. Some may be of an import that is just being recorded. */
export async function findStrays(
  { meta, paths }: StoreContext,
  listed: ObjectTable,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const strays: string[] = [];
  for (const prefix of readdirSync(paths.objects)) {
    if (!PREFIX.test(prefix)) continue;
    checkAborted(signal);
    for (const rest of readdirSync(join(paths.objects, prefix))) {
      if (!REST.test(rest)) continue;
      const key = Buffer.from(`${prefix}${rest}`, 'hex');
      if (listed.find(key) < 0 && meta.objectCount(key) === 0) strays.push(`${prefix}${rest}`);
    }
    await turn();
  }
  return strays;
}

/** Removes them. The caller holds the collector's lock. @param listed all objects that the layers list, lately */
export async function removeStrays(
  context: StoreContext,
  listed: ObjectTable,
  signal: AbortSignal | undefined,
): Promise<Tally> {
  const { meta, paths, lock } = context;
  const strays = await findStrays(context, listed, signal);
  let bytes = 0;
  let count = 0;
  for (let at = 0; at < strays.length; at += PIECE) {
    await lock.exclusive(signal, () => {
      // With the store for ourselves nobody is publishing: what has no record now is nobody's.
      const free = strays.slice(at, at + PIECE).filter((hex) => meta.objectCount(Buffer.from(hex, 'hex')) === 0);
      if (free.length === 0) return;
      const deletion = meta.transaction((writer) => writer.countDeletion());
      bytes += discardObjects(paths, free, deletion);
      count += free.length;
    });
  }
  return { count, bytes };
}
