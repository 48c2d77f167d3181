/** Repairs of records: written anew from what the files show; what cannot be is taken away and kept in the quarantine. */
import type { Digest, DiffID } from '../../../core/digest.js';
import type { ImageRecord, SnapshotRecord } from '../../meta.js';
import { imageFrom } from '../adopt.js';
import type { Comparison } from '../compare.js';
import type { Metadata, RecordWriter } from '../metadata.js';
import type { Finding } from '../problem.js';
import type { JsonTable } from '../record-forms.js';
import type { RepairWork } from './work.js';

type Repair = (key: string, writer: RecordWriter) => string | undefined;

/** Repairs what these findings say of records. All in one transaction. */
export function repairRecords(work: RepairWork, comparison: Comparison, findings: readonly Finding[]): void {
  const { metadata } = work.state;
  if (metadata === undefined) return;
  const repairs = repairsOf(work, comparison);
  metadata.write((writer) => {
    for (const { kind, path } of findings) {
      const [, table, key] =
        /^meta:(names|images|layers|blobs|snapshots|leases|removals|objects)\/(.*)$/s.exec(path) ?? [];
      if (table === undefined) continue;
      if (table === 'objects') {
        setCount(comparison, key, writer);
        work.done(path, 'counted anew');
        continue;
      }
      const detail = repairs[table as JsonTable](key, writer);
      if (detail !== undefined) work.done(path, detail);
      else if (kind !== 'layer-record-missing' && kind !== 'blob-record-missing') {
        takeAway(work, metadata, table as JsonTable, key, writer);
      } else work.failed(path, 'nothing shows what it should be');
    }
  });
}

/** By table: writes a record anew from the files, and says from what; undefined when that cannot be. */
function repairsOf({ state }: RepairWork, { records, images }: Comparison): Record<JsonTable, Repair> {
  const writeImage = (digest: string, writer: RecordWriter): boolean => {
    const image = imageFrom(state, digest as Digest);
    if (image === undefined) return false;
    const known = records.images.get(image.digest);
    writer.set('images', image.digest, known === undefined ? image : { ...image, ...whatOnlyRecordsTell(known) });
    return true;
  };
  return {
    images: (key, writer) => (writeImage(key, writer) ? 'written anew from manifest and config' : undefined),
    names(key, writer) {
      const digest = records.names.get(key);
      if (digest === undefined || !writeImage(digest, writer)) return undefined;
      return 'the record of its image was written anew from manifest and config';
    },
    layers(key, writer) {
      const fact = state.facts.layers.get(key as DiffID);
      if (fact === undefined) return undefined;
      writer.set('layers', key, fact);
      return "written anew from the layer's tar";
    },
    blobs(key, writer) {
      const fact = state.facts.blobs.get(key as Digest);
      if (fact?.diffID === undefined || !isNeeded(fact.diffID, records, images)) return undefined;
      const layer = images.flatMap(({ record }) => record.layers).find(({ digest }) => digest === key);
      const mediaType = records.blobs.get(key as Digest)?.mediaType ?? layer?.mediaType;
      if (mediaType === undefined) return undefined;
      writer.set('blobs', key, { diffID: fact.diffID, size: fact.size, mediaType });
      return 'written anew from what the blob holds';
    },
    snapshots(key, writer) {
      const record: SnapshotRecord | undefined = records.snapshots.get(key);
      const image: ImageRecord | undefined = record === undefined ? undefined : imageFrom(state, record.image.digest);
      if (record === undefined || image === undefined) return undefined;
      writer.set('snapshots', key, { ...record, image: { ...image, ...whatOnlyRecordsTell(record.image) } });
      return 'written anew from manifest and config';
    },
    leases: () => undefined,
    removals: () => undefined,
  };
}

/** How an image came is in no file. */
function whatOnlyRecordsTell({ imported, source, indexes }: ImageRecord): Partial<ImageRecord> {
  return {
    imported,
    ...(source === undefined ? {} : { source }),
    ...(indexes === undefined ? {} : { indexes }),
  };
}

function isNeeded(diffID: DiffID, records: Comparison['records'], images: Comparison['images']): boolean {
  return (
    records.layers.has(diffID) || images.some(({ record }) => record.layers.some((layer) => layer.diffID === diffID))
  );
}

function takeAway(work: RepairWork, metadata: Metadata, table: JsonTable, key: string, writer: RecordWriter): void {
  const path = `meta:${table}/${key}`;
  work.quarantine.record(path, metadata.raw(table, key));
  writer.remove(table, key);
  work.quarantined(path, 'taken away, its text is in the quarantine: nothing shows what it should be');
}

function setCount({ lists: { table } }: Comparison, hex: string, writer: RecordWriter): void {
  const key = Buffer.from(hex, 'hex');
  const at = key.length === 32 ? table.find(key) : -1;
  if (at < 0) writer.removeCount(key);
  else writer.setCount(key, table.countAt(at), table.sizeAt(at));
}

/** Writes all records of a store that lost them. */
export function writeAdopted(metadata: Metadata, { records, lists: { table } }: Comparison): void {
  metadata.write((writer) => {
    for (const [name, digest] of records.names) writer.set('names', name, digest);
    for (const [digest, image] of records.images) writer.set('images', digest, image);
    for (const [diffID, layer] of records.layers) writer.set('layers', diffID, layer);
    for (const [digest, blob] of records.blobs) writer.set('blobs', digest, blob);
    for (let at = 0; at < table.count; at++) writer.setCount(table.keyAt(at), table.countAt(at), table.sizeAt(at));
  });
}
