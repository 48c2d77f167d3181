/** Removal of images by policy: those not used for long, and the longest unused ones of a store that is too large. */
import type { Digest, DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import { checkAborted } from '../errors.js';
import { dropBlobs, removeRecords, type DropResult } from '../image/remove.js';
import { touch } from '../image/last-use.js';
import { namesOf } from '../image/info.js';
import { lockFile } from '../locks.js';
import type { ImageRecord } from '../meta.js';
import { collect, type GcProgress } from './collect.js';
import { layerObjects, turn } from './counts.js';
import { blocksOf, folderUsage, freeableBytes } from './disk-usage.js';
import { isImageReason, markReachable } from './marks.js';
import { ObjectTable } from './object-table.js';
import { measureStore } from '../usage/measure.js';

/** What to remove. At least one of the first three. */
export interface PruneOptions {
  /** Images that were not used for so many milliseconds: mounted, exported, checked out, read, made a snapshot of, imported. */
  readonly unusedFor?: number;
  /** As many of the images that were not used for longest as it takes for the store's folder to be no larger, in bytes. */
  readonly keepUnder?: number;
  /** All compressed layer blobs; before anything else. */
  readonly blobs?: boolean;
  /** Only tells. */
  readonly dryRun?: boolean;
  readonly onProgress?: (event: GcProgress) => void;
  readonly signal?: AbortSignal;
}

/** An image that was, or would be, removed. */
export interface PrunedImage {
  readonly digest: Digest;
  readonly names: readonly string[];
  /** ISO 8601. */
  readonly lastUsed: string;
  /** On the disk: what goes with it, after those before it. */
  readonly bytes: number;
  readonly because: 'unused' | 'size';
}

/** What was, or would be, removed. */
export interface PruneResult {
  readonly dryRun: boolean;
  readonly images: readonly PrunedImage[];
  /** Layer blobs that were dropped by themselves. */
  readonly blobs: number;
  readonly blobBytes: number;
  /** On the disk, in all, as far as this was foreseen. */
  readonly bytes: number;
  /** What the store's folder takes then; only with `keepUnder`. */
  readonly size?: number;
  /** Images that would have gone, and that somebody uses. */
  readonly inUse: readonly Digest[];
}

/** @throws LayerfsError invalid-argument without a policy */
export async function prune(context: StoreContext, options: PruneOptions): Promise<PruneResult> {
  const { paths, lock } = context;
  const { unusedFor, keepUnder, blobs = false, dryRun = false, signal } = options;
  if (unusedFor === undefined && keepUnder === undefined && !blobs) {
    throw new LayerfsError('invalid-argument', 'say what to remove: unused images, down to a size, or blobs');
  }
  const collector = await lockFile(paths.collector, 'exclusive', signal);
  try {
    touchUsed(context);
    const dropped: DropResult = blobs
      ? await lock.exclusive(signal, () => dropBlobs(context, undefined, dryRun))
      : { blobs: 0, bytes: 0 };
    const plan = new Plan(context, blobs && dryRun);
    await plan.read(signal);
    if (unusedFor !== undefined) plan.unused(Date.now() - unusedFor);
    let size: number | undefined;
    if (keepUnder !== undefined) {
      size = (await measureStore(paths, { signal })).total - (dryRun ? dropped.bytes : 0);
      size = plan.shrink(size, keepUnder);
    }
    const images = dryRun ? plan.images : await carryOut(context, plan.images, options);
    return {
      dryRun,
      images,
      blobs: dropped.blobs,
      blobBytes: dropped.bytes,
      bytes: images.reduce((sum, { bytes }) => sum + bytes, dropped.bytes),
      ...(size === undefined ? {} : { size }),
      inUse: [...plan.inUse],
    };
  } finally {
    collector.release();
  }
}

/** Whoever has an image mounted, or a snapshot of it, uses it, for months perhaps: from now on the time without use counts. */
function touchUsed(context: StoreContext): void {
  const { images } = markReachable(context);
  touch(
    context,
    [...images].filter(([, reasons]) => reasons.some(isImageReason)).map(([digest]) => digest),
  );
}

/** Removes the images that still are as they were when that was planned. The caller holds the collector's lock. */
async function carryOut(
  context: StoreContext,
  images: readonly PrunedImage[],
  options: PruneOptions,
): Promise<PrunedImage[]> {
  const removed: PrunedImage[] = [];
  for (const image of images) {
    checkAborted(options.signal);
    const gone = await context.lock.exclusive(options.signal, () => {
      const { meta } = context;
      const record = meta.image(image.digest);
      if (record === undefined || usedAt(context, record) !== Date.parse(image.lastUsed)) return false;
      if (markReachable(context).images.get(image.digest)?.some(isImageReason) === true) return false;
      removeRecords(context, image.digest, namesOf(meta, image.digest));
      return true;
    });
    if (gone) removed.push(image);
  }
  if (removed.length > 0) await collect(context, options);
  return removed;
}

function usedAt({ meta }: StoreContext, record: ImageRecord): number {
  return meta.lastUsed(record.digest) ?? Date.parse(record.imported);
}

/** What goes when images go, one after the other. */
class Plan {
  readonly images: PrunedImage[] = [];
  /** Images that a policy fits and somebody uses. */
  readonly inUse = new Set<Digest>();
  /** All that somebody uses. */
  readonly #inUse = new Set<Digest>();
  readonly #context: StoreContext;
  readonly #withoutBlobs: boolean;
  /** Longest unused first. */
  readonly #left: ImageRecord[];
  readonly #objects = new ObjectTable();
  /** How many layers that stay list an object. */
  #counts = new Uint32Array(0);
  /** What still needs a layer, a chain or a document: images that are left, and reasons that stay. */
  readonly #users = new Map<string, number>();

  /** @param withoutBlobs layer blobs count for nothing: they are dropped before */
  constructor(context: StoreContext, withoutBlobs: boolean) {
    this.#context = context;
    this.#withoutBlobs = withoutBlobs;
    this.#left = context.meta.images().toSorted((a, b) => usedAt(context, a) - usedAt(context, b));
    const marks = markReachable(context, new Set(this.#left.map(({ digest }) => digest)));
    for (const map of [marks.layers, marks.chains, marks.documents]) for (const id of map.keys()) this.#use(id, 1);
    for (const record of this.#left) for (const id of partsOf(record)) this.#use(id, 1);
    for (const [digest, reasons] of markReachable(context).images) {
      if (reasons.some(isImageReason)) this.#inUse.add(digest);
    }
  }

  async read(signal: AbortSignal | undefined): Promise<void> {
    for (const diffID of this.#context.meta.layerIDs()) {
      checkAborted(signal);
      this.#objects.addList(layerObjects(this.#context, diffID));
      await turn();
    }
    this.#counts = new Uint32Array(this.#objects.count);
    for (let at = 0; at < this.#counts.length; at++) this.#counts[at] = this.#objects.countAt(at);
  }

  /** Images not used since a time. */
  unused(since: number): void {
    for (const record of this.#left.filter((each) => usedAt(this.#context, each) < since)) {
      if (this.#inUse.has(record.digest)) this.inUse.add(record.digest);
      else this.#remove(record, 'unused');
    }
  }

  /** As many as it takes. @returns the size then */
  shrink(size: number, limit: number): number {
    let left = this.images.reduce((sum, { bytes }) => sum - bytes, size);
    const inOrder = this.#left.slice();
    for (const record of inOrder) {
      if (left <= limit) break;
      if (this.#inUse.has(record.digest)) this.inUse.add(record.digest);
      else left -= this.#remove(record, 'size');
    }
    return left;
  }

  #remove(record: ImageRecord, because: PrunedImage['because']): number {
    const { paths, meta } = this.#context;
    this.#left.splice(this.#left.indexOf(record), 1);
    let bytes = 0;
    const gone = new Set(partsOf(record).filter((id) => this.#use(id, -1) === 0));
    if (gone.has(record.chainID)) bytes += freeableBytes(paths.chainFolder(record.chainID));
    for (const digest of new Set([record.digest, record.config])) {
      if (gone.has(digest)) bytes += blocksOf(paths.blob(digest));
    }
    for (const diffID of new Set(record.layers.map((layer) => layer.diffID))) {
      if (gone.has(diffID)) bytes += this.#removeLayer(diffID);
    }
    const names = namesOf(meta, record.digest);
    const lastUsed = new Date(usedAt(this.#context, record)).toISOString();
    this.images.push({ digest: record.digest, names, lastUsed, bytes, because });
    return bytes;
  }

  #removeLayer(diffID: DiffID): number {
    const { paths, meta } = this.#context;
    let bytes = folderUsage(paths.layer(diffID)).bytes;
    if (!this.#withoutBlobs) {
      for (const { digest, blob } of meta.blobs()) if (blob.diffID === diffID) bytes += blocksOf(paths.blob(digest));
    }
    const list = layerObjects(this.#context, diffID);
    for (let i = 0; i < list.count; i++) {
      const at = this.#objects.find(list.digest(i));
      if (at >= 0 && --this.#counts[at] === 0) bytes += blocksOf(paths.object(list.hex(i)));
    }
    return bytes;
  }

  #use(id: string, by: 1 | -1): number {
    const users = (this.#users.get(id) ?? 0) + by;
    this.#users.set(id, users);
    return users;
  }
}

/** Layers, chain, manifest and config of an image, each once. */
function partsOf({ layers, chainID, digest, config }: ImageRecord): string[] {
  return [...new Set<string>([...layers.map((layer) => layer.diffID), chainID, digest, config])];
}
