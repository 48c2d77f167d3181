import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest, DiffID } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import { folderUsage } from '../gc/disk-usage.js';
import { ObjectList } from '../object-list.js';
import { namesOf } from './info.js';

/** What one image takes, in bytes of content. Equal files count once in it. */
export interface ImageUsage {
  readonly name: string | undefined;
  readonly names: readonly string[];
  readonly digest: Digest;
  readonly total: number;
  /** Of `total`, what other images hold as well. */
  readonly shared: number;
  /** Of `total`, what would be freed with the image. */
  readonly unique: number;
  readonly layers: number;
}

/** What a store takes, in bytes. */
export interface Usage {
  readonly images: readonly ImageUsage[];
  readonly objects: { readonly count: number; readonly bytes: number };
  /** `logicalBytes`: the files of all layers, each layer by itself. */
  readonly layers: { readonly count: number; readonly logicalBytes: number };
  /** Manifests, configs and compressed layers. */
  readonly blobs: { readonly count: number; readonly bytes: number };
  /** What equal files would take if each were stored. */
  readonly savedByDedup: number;
  readonly snapshots: readonly SnapshotUsage[];
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

/** Adds up. Reads the object list of every layer once. */
export function storeUsage(context: StoreContext): Usage {
  const { meta, paths } = context;
  const records = meta.images();
  const lists = new Map<DiffID, ObjectList>();
  for (const { diffID } of meta.layers()) {
    lists.set(diffID, ObjectList.read(join(paths.layer(diffID), 'objects'), context.xxhash));
  }
  // Per object: the last image that was seen to hold it, and whether another did before.
  const owners = new Map<string, { image: number; shared: boolean; size: number }>();
  const totals = records.map(() => ({ total: 0, shared: 0 }));
  for (const [index, record] of records.entries()) {
    for (const { diffID } of record.layers) {
      const list = lists.get(diffID);
      if (list === undefined) continue;
      for (let i = 0; i < list.count; i++) {
        const key = list.digest(i).toString('latin1');
        const owner = owners.get(key);
        if (owner?.image === index) continue;
        totals[index].total += list.size(i);
        if (owner === undefined) owners.set(key, { image: index, shared: false, size: list.size(i) });
        else {
          owner.image = index;
          owner.shared = true;
        }
      }
    }
  }
  for (const [index, record] of records.entries()) {
    const seen = new Set<string>();
    for (const { diffID } of record.layers) {
      const list = lists.get(diffID);
      if (list === undefined) continue;
      for (let i = 0; i < list.count; i++) {
        const key = list.digest(i).toString('latin1');
        if (seen.has(key)) continue;
        seen.add(key);
        if (owners.get(key)?.shared === true) totals[index].shared += list.size(i);
      }
    }
  }
  const objects = meta.objectTotals();
  const layers = meta.layers();
  const logicalBytes = layers.reduce((sum, { layer }) => sum + layer.contentSize, 0);
  return {
    images: records.map((record, index) => {
      const names = namesOf(meta, record.digest);
      const { total, shared } = totals[index];
      return {
        name: names[0],
        names,
        digest: record.digest,
        total,
        shared,
        unique: total - shared,
        layers: record.layers.length,
      };
    }),
    objects,
    layers: { count: layers.length, logicalBytes },
    blobs: blobUsage(paths.blobs),
    savedByDedup: Math.max(0, logicalBytes - objects.bytes),
    snapshots: meta.snapshots().map(({ name, snapshot: { id, ref } }) => {
      return { name, ref, ...folderUsage(join(paths.snapshot(id), 'upper')) };
    }),
  };
}

function blobUsage(folder: string): { count: number; bytes: number } {
  let count = 0;
  let bytes = 0;
  for (const name of readdirSync(folder)) {
    const stats = statSync(join(folder, name), { throwIfNoEntry: false });
    if (stats === undefined) continue;
    count++;
    bytes += stats.size;
  }
  return { count, bytes };
}
