/** Takes away what nothing refers to. It runs beside imports and mounts: the store is held for a moment at a time. */
import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ChainID, Digest, DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import { checkAborted } from '../errors.js';
import type { ObjectList } from '../object-list.js';
import { layerObjects, type Disagreement } from './counts.js';
import { dismantle, trashedObjects, type Freed } from './dismantle.js';
import { freeableBytes } from './disk-usage.js';
import { markReachable, type Marks } from './marks.js';
import { Reach } from './reach.js';
import { removeEmptyFolders, sweepLocked } from './sweep.js';
import { emptyTrash, trashedLayers, trashRemoved } from './trash.js';

/** What a collection freed, by kind. `bytes`: what it took on the disk. */
export interface Collected {
  readonly layers: Tally;
  /** `contentBytes`: of the files; on the disk each takes whole blocks. */
  readonly objects: Tally & { readonly contentBytes: number };
  readonly chains: Tally;
  /** Manifests, configs and compressed layers. */
  readonly blobs: Tally;
  /** Objects whose count was too low: they were kept, and their counts set right. */
  readonly disagreements: readonly Disagreement[];
  /** Layers that nothing refers to and that cannot be removed, as they are damaged; with the reason. */
  readonly problems: readonly string[];
}

/** A number of things, and the bytes that they take on the disk. */
export interface Tally {
  readonly count: number;
  readonly bytes: number;
}

/** How far a collection is. */
export interface GcProgress {
  readonly kind: 'gc';
  /** `mark`: finds out what stays; `layers`: removes layers and their objects; `rest`: chains, blobs and strays. */
  readonly phase: 'mark' | 'layers' | 'rest';
  /** Layers, done and in all. */
  readonly done: number;
  readonly of: number;
  /** On the disk, so far. */
  readonly freedBytes: number;
}

/** How to collect. */
export interface CollectOptions {
  /** Only what processes that died left behind. */
  readonly remains?: boolean;
  readonly onProgress?: (event: GcProgress) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Removes layers, chains and blobs that nothing refers to. The caller holds the collector's lock, and no other.
 * @throws LayerfsError corrupt naming the object list of a layer that stays: without it nothing can be proved; aborted
 */
export async function collect(context: StoreContext, options: CollectOptions): Promise<Collected> {
  const { meta, paths, lock } = context;
  const { signal } = options;
  const tallies = { layers: tally(), chains: tally(), blobs: tally() };
  const problems: string[] = [];
  let [done, of] = [0, 0];
  const tell = (phase: GcProgress['phase']): void => {
    const others = tallies.layers.bytes + tallies.chains.bytes + tallies.blobs.bytes;
    options.onProgress?.({ kind: 'gc', phase, done, of, freedBytes: freed.diskBytes + others });
  };
  const freed: Freed = { objects: 0, bytes: 0, diskBytes: 0, disagreements: [], onFreed: () => tell('layers') };

  tell('mark');
  // Before that goes which tells that there are remains.
  if (options.remains === true) await removeFiles(context, tallies, signal);
  await lock.exclusive(signal, () => sweepLocked(context));
  const reach = new Reach(context);
  const remains = new Set([...meta.removals(), ...trashedLayers(paths)]);
  for (const diffID of remains) {
    const list = trashedObjects(context, diffID);
    if (list !== undefined) reach.goes(diffID, list);
    // It may have been imported again.
    reach.stays(diffID);
  }
  const unused = options.remains === true ? [] : unusedLayers(context, markReachable(context), reach, problems);
  await reach.scan(signal);
  of = remains.size + unused.length;
  for (const diffID of remains) {
    await dismantle(context, diffID, reach, freed, signal);
    done++;
  }
  for (const { diffID, list } of unused) {
    checkAborted(signal);
    const removed = await lock.exclusive(signal, () => removeRecord(context, diffID, list, reach, tallies));
    if (removed) await dismantle(context, diffID, reach, freed, signal);
    done++;
    tell('layers');
  }
  tell('rest');
  await removeFiles(context, tallies, signal);
  await emptyTrash(paths);
  tell('rest');
  return {
    ...tallies,
    objects: { count: freed.objects, bytes: freed.diskBytes, contentBytes: freed.bytes },
    disagreements: freed.disagreements,
    problems,
  };
}

/** Layers without a mark. */
export function unusedLayers(
  context: StoreContext,
  marks: Marks,
  reach: Reach,
  problems: string[],
): { readonly diffID: DiffID; readonly list: ObjectList }[] {
  const unused: { diffID: DiffID; list: ObjectList }[] = [];
  for (const diffID of context.meta.layerIDs()) {
    if (marks.layers.has(diffID)) continue;
    try {
      const list = layerObjects(context, diffID);
      reach.goes(diffID, list);
      unused.push({ diffID, list });
    } catch (error) {
      // It can neither be counted down nor do any harm.
      const code = (error as { code?: string }).code;
      if (code !== 'ENOENT' && !(error instanceof LayerfsError)) throw error;
      problems.push(`layer ${diffID} stays: ${(error as Error).message}`);
    }
  }
  return unused;
}

/** Takes a layer's record away unless somebody has come to need it. @returns whether it is gone */
function removeRecord(
  context: StoreContext,
  diffID: DiffID,
  list: ObjectList,
  reach: Reach,
  tallies: { layers: MutableTally; blobs: MutableTally },
): boolean {
  const { meta, paths } = context;
  // Its list counts from now on, when it stays as when it comes back.
  reach.stays(diffID);
  if (markReachable(context).layers.has(diffID)) return false;
  const blobs = meta.blobs().filter(({ blob }) => blob.diffID === diffID);
  tallies.layers.count++;
  tallies.layers.bytes += freeableBytes(paths.layer(diffID));
  meta.transaction((writer) => {
    for (const { digest } of blobs) writer.removeBlob(digest);
    writer.removeLayer(diffID);
    if (list.count > 0) writer.setRemoval(diffID, { next: 0 });
  });
  trashRemoved(context, diffID);
  // The remains of an earlier one with the same list were in its place.
  rmSync(paths.layer(diffID), { recursive: true, force: true });
  for (const { digest } of blobs) removeFile(paths.blob(digest), tallies.blobs);
  return true;
}

/** Chains and blobs that nothing refers to, and empty folders of objects. */
async function removeFiles(
  context: StoreContext,
  tallies: { chains: MutableTally; blobs: MutableTally },
  signal: AbortSignal | undefined,
): Promise<void> {
  const { lock, paths } = context;
  const { chains, blobs } = unusedFiles(context);
  for (const names of inPieces(chains)) {
    await lock.exclusive(signal, () => {
      const still = new Set(unusedFiles(context).chains);
      for (const name of names) {
        if (!still.has(name)) continue;
        tallies.chains.count++;
        tallies.chains.bytes += freeableBytes(join(paths.chains, name));
        rmSync(join(paths.chains, name), { recursive: true, force: true });
      }
    });
  }
  for (const names of inPieces(blobs)) {
    await lock.exclusive(signal, () => {
      const still = new Set(unusedFiles(context).blobs);
      for (const name of names) if (still.has(name)) removeFile(join(paths.blobs, name), tallies.blobs);
    });
  }
  await lock.exclusive(signal, () => removeEmptyFolders(paths));
}

/** Names in `chains/` and `blobs/sha256/` that nothing refers to. */
export function unusedFiles(
  context: StoreContext,
  marks = markReachable(context),
): { chains: string[]; blobs: string[] } {
  const { meta, paths } = context;
  return {
    chains: readdirSync(paths.chains).filter((name) => !marks.chains.has(`sha256:${name}` as ChainID)),
    blobs: readdirSync(paths.blobs).filter((name) => {
      const digest = `sha256:${name}` as Digest;
      return !marks.documents.has(digest) && meta.blob(digest) === undefined;
    }),
  };
}

interface MutableTally {
  count: number;
  bytes: number;
}

function tally(): MutableTally {
  return { count: 0, bytes: 0 };
}

function removeFile(path: string, tallied: MutableTally): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  rmSync(path, { recursive: true, force: true });
  tallied.count++;
  tallied.bytes += stats.blocks * 512;
}

function inPieces<T>(all: readonly T[]): T[][] {
  const pieces: T[][] = [];
  for (let at = 0; at < all.length; at += 64) pieces.push(all.slice(at, at + 64));
  return pieces;
}
