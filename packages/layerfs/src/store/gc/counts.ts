/** Reference counts of objects, proved by the layers' object lists. */
import { join } from 'node:path';
import type { DiffID } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import { checkAborted } from '../errors.js';
import { ObjectList } from '../object-list.js';
import { ObjectTable } from './object-table.js';

/** An object whose count is not the number of layers that list it. */
export interface Disagreement {
  /** The 64 hex digits of its sha256. */
  readonly object: string;
  /** What its record says; 0 where it has none. */
  readonly counted: number;
  /** Recorded layers that list it. */
  readonly listed: number;
}

/** The result of a comparison. */
export interface CountProof {
  /** How often the recorded layers list each object. */
  readonly table: ObjectTable;
  /** How many objects disagree, and the first {@link MAX_TOLD} of them. */
  readonly disagreeing: number;
  readonly disagreements: readonly Disagreement[];
}

/** No more are told one by one. */
export const MAX_TOLD = 100;
/** Records between two turns of the event loop. */
const BREATH = 20_000;

/** The object list of a recorded layer. @throws LayerfsError corrupt naming the file */
export function layerObjects({ paths, xxhash }: StoreContext, diffID: DiffID): ObjectList {
  return ObjectList.read(join(paths.layer(diffID), 'objects'), xxhash);
}

/**
 * Compares all counts with all lists, as of one moment. Needs no lock against importers; nobody may remove layers meanwhile.
 * About a second for 1,000,000 objects.
 * @throws LayerfsError corrupt naming an object list that cannot be read; aborted
 */
export async function proveCounts(context: StoreContext, signal?: AbortSignal): Promise<CountProof> {
  const table = new ObjectTable();
  const view = context.meta.view();
  try {
    for (const { diffID } of view.layers()) {
      checkAborted(signal);
      table.addList(layerObjects(context, diffID));
      await turn();
    }
    const disagreements: Disagreement[] = [];
    let disagreeing = 0;
    let agreeing = 0;
    let seen = 0;
    const tell = (object: string, counted: number, listed: number): void => {
      if (disagreeing++ < MAX_TOLD) disagreements.push({ object, counted, listed });
    };
    for (const { key, count } of view.objects()) {
      const at = table.find(key);
      const listed = at < 0 ? 0 : table.countAt(at);
      if (listed === count) agreeing++;
      else tell(key.toString('hex'), count, listed);
      if (++seen % BREATH === 0) {
        checkAborted(signal);
        await turn();
      }
    }
    // Those that are listed and have no record at all: only where not every listed one was met.
    if (agreeing < table.count) {
      for (let at = 0; at < table.count; at++) {
        if (view.objectCount(table.keyAt(at)) === 0) tell(table.keyAt(at).toString('hex'), 0, table.countAt(at));
        if (at % BREATH === BREATH - 1) await turn();
      }
    }
    return { table, disagreeing, disagreements };
  } finally {
    view.end();
  }
}

/** Lets other work of the process go on. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
