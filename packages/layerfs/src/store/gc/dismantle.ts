/** A layer goes: its record first, then its objects in batches, then its files. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import { checkAborted, isErrno } from '../errors.js';
import type { ObjectCount } from '../meta.js';
import { ObjectList } from '../object-list.js';
import type { Disagreement } from './counts.js';
import type { Reach } from './reach.js';
import { hasRoom } from '../reserve.js';
import { discardObjects, emptyTrash, trashedLayer } from './trash.js';

/** What was freed so far. */
export interface Freed {
  /** Objects, the bytes of their content, and what they took on the disk. */
  objects: number;
  bytes: number;
  diskBytes: number;
  /** Objects whose count was too low: they are kept, with the right count. */
  readonly disagreements: Disagreement[];
  /** Called as objects go. */
  readonly onFreed?: () => void;
}

/** How long the store is held for one batch, in milliseconds, as far as that can be foreseen. */
const HOLD = 40;
const FIRST_BATCH = 512;
/** Each is synced by itself, which takes its time however small it is. */
const SMALLEST_BATCH = 256;
const LARGEST_BATCH = 16384;
/** On a full disk: each object may have its count on another page of the records, which is written anew. */
const TIGHT_BATCH = 64;

/**
 * The object list of a layer in the trash; undefined where it has none, or half of one: whoever left it got no further, and
 * had published nothing.
 */
export function trashedObjects({ paths, xxhash }: StoreContext, diffID: DiffID): ObjectList | undefined {
  try {
    return ObjectList.read(join(trashedLayer(paths, diffID), 'objects'), xxhash);
  } catch (error) {
    if (isErrno(error, 'ENOENT') || (error instanceof LayerfsError && error.code === 'corrupt')) return undefined;
    throw error;
  }
}

/**
 * Deals with the objects of a layer in the trash, and deletes it. The caller holds the collector's lock. Where its removal is
 * recorded, its objects are counted down; of others, those go that have no count. May be interrupted at any point, and begun
 * again.
 */
export async function dismantle(
  context: StoreContext,
  diffID: DiffID,
  reach: Reach,
  freed: Freed,
  signal: AbortSignal | undefined,
): Promise<void> {
  const list = trashedObjects(context, diffID);
  const count = list?.count ?? 0;
  // Of those that were counted down before, some may not have been deleted: all are looked at.
  for (let next = 0, size = FIRST_BATCH; list !== undefined && next < count;) {
    checkAborted(signal);
    const full = !hasRoom(context.paths);
    if (full) context.meta.economize();
    const end = Math.min(next + (full ? TIGHT_BATCH : size), count);
    const took = await context.lock.exclusive(signal, () => {
      const began = performance.now();
      batch(context, diffID, list, next, end, reach, freed);
      return performance.now() - began;
    });
    next = end;
    size = Math.max(
      SMALLEST_BATCH,
      Math.min(LARGEST_BATCH, Math.round(size * Math.min(4, HOLD / Math.max(took, 0.1)))),
    );
    if (full) await emptyTrash(context.paths);
    freed.onFreed?.();
  }
  await rm(trashedLayer(context.paths, diffID), { recursive: true, force: true });
  if (context.meta.removal(diffID) !== undefined) {
    context.meta.transaction((writer) => writer.setRemoval(diffID, undefined));
  }
}

/** Objects `start` to `end` of the list. The caller holds the store's lock exclusively. */
function batch(
  { meta, paths }: StoreContext,
  diffID: DiffID,
  list: ObjectList,
  start: number,
  end: number,
  reach: Reach,
  freed: Freed,
): void {
  reach.update();
  const free: number[] = [];
  const deletion = meta.transaction((writer) => {
    const removal = meta.removal(diffID);
    const digests = Array.from({ length: end - start }, (_, i) => list.hex(start + i));
    const changed: ObjectCount[] = [];
    for (const [at, counted] of meta.objectCounts(digests).entries()) {
      const i = start + at;
      const left = counted - (removal !== undefined && i >= removal.next && counted > 0 ? 1 : 0);
      const layers = left > 0 ? left : reach.listed(list.digest(i));
      if (layers > 0 && left === 0) freed.disagreements.push({ object: digests[at], counted: left, listed: layers });
      if (layers !== counted) changed.push({ hex: digests[at], layers, size: list.size(i) });
      if (layers === 0) free.push(i);
    }
    writer.setObjects(changed);
    if (removal !== undefined && end > removal.next) writer.setRemoval(diffID, { next: end });
    return free.length === 0 ? 0 : writer.countDeletion();
  });
  freed.diskBytes += discardObjects(
    paths,
    free.map((i) => list.hex(i)),
    deletion,
  );
  freed.objects += free.length;
  for (const i of free) freed.bytes += list.size(i);
}
