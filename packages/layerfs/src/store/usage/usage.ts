/** How much images take, alone and together: what `du` tells. */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest, DiffID } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import { checkAborted, isErrno } from '../errors.js';
import { layerObjects, turn } from '../gc/counts.js';
import { blocksOf, folderUsage, freeableBytes } from '../gc/disk-usage.js';
import { ObjectTable } from '../gc/object-table.js';
import { lastUsed, namesOf } from '../image/info.js';
import type { ImageRecord } from '../meta.js';
import type { ObjectList } from '../object-list.js';
import { measureStore, type MeasureOptions, type StoreSize } from './measure.js';

/** What one image takes. */
export interface ImageUsage {
  readonly name: string | undefined;
  readonly names: readonly string[];
  readonly digest: Digest;
  /** Bytes of content. Equal files count once in it. */
  readonly total: number;
  /** Of `total`, what other images hold as well. */
  readonly shared: number;
  /** Of `total`, what would be freed with the image. */
  readonly unique: number;
  /** On the disk: objects, trees, tar records, blobs, manifest and config. */
  readonly disk: { readonly total: number; readonly shared: number; readonly unique: number };
  readonly layers: number;
  /** ISO 8601. */
  readonly lastUsed: string;
}

/** What a store takes, in bytes. */
export interface Usage {
  readonly images: readonly ImageUsage[];
  /** `bytes` of content. */
  readonly objects: { readonly count: number; readonly bytes: number };
  /** `logicalBytes`: the files of all layers, each layer by itself. */
  readonly layers: { readonly count: number; readonly logicalBytes: number };
  /** Manifests, configs and compressed layers, by their lengths. */
  readonly blobs: { readonly count: number; readonly bytes: number };
  /** What equal files would take if each were stored. */
  readonly savedByDedup: number;
  readonly snapshots: readonly SnapshotUsage[];
  /** What the store's folder takes on the disk, block by block. */
  readonly disk: StoreSize;
}

/** What was changed in a snapshot, as it lies on the disk. */
export interface SnapshotUsage {
  readonly name: string;
  /** The image as it was named. */
  readonly ref: string;
  /** Bytes that its files and folders take. */
  readonly bytes: number;
  /** Names in it, those of whiteouts too. */
  readonly entries: number;
}

/** Options of a store's usage. */
export type UsageOptions = Omit<MeasureOptions, 'onObject'>;

/** Adds up. Looks at every file of the store, and reads the object list of every layer, without holding the store's lock. */
export async function storeUsage(context: StoreContext, options: UsageOptions = {}): Promise<Usage> {
  const { meta, paths } = context;
  const table = new ObjectTable();
  const lists = new Map<DiffID, ObjectList>();
  const layers = meta.layers();
  for (const { diffID } of layers) {
    checkAborted(options.signal);
    const list = listOf(context, diffID);
    if (list === undefined) continue;
    lists.set(diffID, list);
    table.addList(list);
    await turn();
  }
  const blocks = new Float64Array(table.count);
  const disk = await measureStore(paths, {
    ...options,
    onObject: (hex, bytes) => {
      const at = table.find(Buffer.from(hex, 'hex'));
      if (at >= 0) blocks[at] = bytes;
    },
  });
  const logicalBytes = layers.reduce((sum, { layer }) => sum + layer.contentSize, 0);
  const objects = meta.objectTotals();
  return {
    images: imageUsage(context, table, lists, blocks),
    objects,
    layers: { count: layers.length, logicalBytes },
    blobs: blobUsage(paths.blobs),
    savedByDedup: Math.max(0, logicalBytes - objects.bytes),
    snapshots: meta.snapshots().map(({ name, snapshot: { id, ref } }) => {
      return { name, ref, ...folderUsage(join(paths.snapshot(id), 'upper')) };
    }),
    disk,
  };
}

function imageUsage(
  context: StoreContext,
  table: ObjectTable,
  lists: ReadonlyMap<DiffID, ObjectList>,
  blocks: Float64Array,
): ImageUsage[] {
  const records = context.meta.images();
  // Of each object: index + 1 of the image that was seen last to hold it, and how many hold it.
  const seen = new Int32Array(table.count);
  const holders = new Uint32Array(table.count);
  const each = (index: number, record: ImageRecord, visit: (at: number) => void): void => {
    for (const { diffID } of record.layers) {
      const list = lists.get(diffID);
      for (let i = 0; list !== undefined && i < list.count; i++) {
        const at = table.find(list.digest(i));
        if (seen[at] === index + 1) continue;
        seen[at] = index + 1;
        visit(at);
      }
    }
  };
  for (const [index, record] of records.entries()) each(index, record, (at) => holders[at]++);
  seen.fill(0);
  const files = new Map(records.map((record) => [record, imageFiles(context, record)]));
  const users = new Map<string, number>();
  for (const own of files.values()) for (const key of own.keys()) users.set(key, (users.get(key) ?? 0) + 1);
  return records.map((record, index) => {
    let [total, shared, onDisk, sharedOnDisk] = [0, 0, 0, 0];
    each(index, record, (at) => {
      total += table.sizeAt(at);
      onDisk += blocks[at];
      if (holders[at] === 1) return;
      shared += table.sizeAt(at);
      sharedOnDisk += blocks[at];
    });
    for (const [key, bytes] of files.get(record) ?? []) {
      onDisk += bytes;
      if (users.get(key) !== 1) sharedOnDisk += bytes;
    }
    const names = namesOf(context.meta, record.digest);
    return {
      name: names[0],
      names,
      digest: record.digest,
      total,
      shared,
      unique: total - shared,
      disk: { total: onDisk, shared: sharedOnDisk, unique: onDisk - sharedOnDisk },
      layers: record.layers.length,
      lastUsed: lastUsed(context.meta, record),
    };
  });
}

/** Files of an image besides its objects, with the bytes that they take on the disk. */
export function imageFiles({ paths }: StoreContext, record: ImageRecord): Map<string, number> {
  const files = new Map<string, number>();
  for (const { diffID, digest } of record.layers) {
    files.set(paths.layer(diffID), folderUsage(paths.layer(diffID)).bytes);
    files.set(paths.blob(digest), blocksOf(paths.blob(digest)));
  }
  const chain = paths.chainFolder(record.chainID);
  files.set(chain, freeableBytes(chain));
  for (const digest of [record.digest, record.config]) files.set(paths.blob(digest), blocksOf(paths.blob(digest)));
  return files;
}

// A layer that is being removed is none of an image's.
function listOf(context: StoreContext, diffID: DiffID): ObjectList | undefined {
  try {
    return layerObjects(context, diffID);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function blobUsage(folder: string): { count: number; bytes: number } {
  let count = 0;
  let bytes = 0;
  for (const name of readdirSync(folder)) {
    const stats = lstatSync(join(folder, name), { throwIfNoEntry: false });
    if (stats === undefined) continue;
    count++;
    bytes += stats.size;
  }
  return { count, bytes };
}
