/** What records must look like: they are read from a database that may be damaged, so nothing about them is taken for granted. */
import { isDigest, type ChainID, type Digest, type DiffID } from '../../core/digest.js';
import type {
  BlobRecord,
  ImageLayerRecord,
  ImageRecord,
  IndexRecord,
  LayerRecord,
  LeaseRecord,
  RemovalRecord,
  SnapshotRecord,
} from '../meta.js';

type Raw = Readonly<Record<string, unknown>>;

/** A record's JSON, or undefined when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function asRecord(value: unknown): Raw | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Raw) : undefined;
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isDigestText = (value: unknown): value is Digest => isText(value) && isDigest(value);

/** Each gives the record, or undefined when it has not the form that it must have. */
export const FORMS = {
  names: (value: unknown): Digest | undefined => (isDigestText(value) ? value : undefined),

  images(value: unknown): ImageRecord | undefined {
    const raw = asRecord(value);
    if (raw === undefined || !Array.isArray(raw['layers'])) return undefined;
    const { digest, mediaType, size, config, platform, created, chainID, imported, contentSize, source, indexes } = raw;
    if (!isDigestText(digest) || !isText(mediaType) || !isSize(size) || !isDigestText(config)) return undefined;
    if (!isText(platform) || !isDigestText(chainID) || !isText(imported)) return undefined;
    if (created !== undefined && !isText(created)) return undefined;
    if (contentSize !== undefined && !isSize(contentSize)) return undefined;
    if (source !== undefined && !isText(source)) return undefined;
    if (indexes !== undefined && !isListOf(indexes, isIndex)) return undefined;
    const layers = (raw['layers'] as unknown[]).map((layer) => imageLayer(layer));
    const whole = layers.filter((layer) => layer !== undefined);
    if (whole.length !== layers.length || layers.length === 0) return undefined;
    return {
      digest,
      mediaType,
      size,
      config,
      platform,
      ...(created === undefined ? {} : { created }),
      chainID: chainID as ChainID,
      imported,
      layers: whole,
      ...(contentSize === undefined ? {} : { contentSize }),
      ...(source === undefined ? {} : { source }),
      ...(indexes === undefined ? {} : { indexes }),
    };
  },

  layers(value: unknown): LayerRecord | undefined {
    const raw = asRecord(value);
    if (raw === undefined) return undefined;
    const { size, contentSize, entries, objects } = raw;
    if (!isSize(size) || !isSize(contentSize) || !isSize(entries) || !isSize(objects)) return undefined;
    return { size, contentSize, entries, objects };
  },

  blobs(value: unknown): BlobRecord | undefined {
    const raw = asRecord(value);
    if (raw === undefined) return undefined;
    const { diffID, size, mediaType } = raw;
    if (!isDigestText(diffID) || !isSize(size) || !isText(mediaType)) return undefined;
    return { diffID: diffID as DiffID, size, mediaType };
  },

  snapshots(value: unknown): SnapshotRecord | undefined {
    const raw = asRecord(value);
    if (raw === undefined) return undefined;
    const { id, ref, created } = raw;
    const image = FORMS.images(raw['image']);
    // The id becomes part of a path.
    if (!isText(id) || !/^[0-9a-f]{1,64}$/.test(id) || !isText(ref) || !isText(created) || image === undefined)
      return undefined;
    return { id, ref, created, image };
  },

  leases(value: unknown): LeaseRecord | undefined {
    const raw = asRecord(value);
    if (raw === undefined) return undefined;
    const { created, expires, label, images, layers, snapshots } = raw;
    if (!isText(created) || !isText(expires) || !isText(label)) return undefined;
    if (!Array.isArray(images) || !isListOf(layers, isDigestText) || !isListOf(snapshots, isText)) return undefined;
    const whole = images.map((image) => FORMS.images(image)).filter((image) => image !== undefined);
    if (whole.length !== images.length) return undefined;
    return { created, expires, label, images: whole, layers: layers as DiffID[], snapshots };
  },

  removals(value: unknown): RemovalRecord | undefined {
    const next = asRecord(value)?.['next'];
    return isSize(next) ? { next } : undefined;
  },
} as const;

function isListOf<T>(value: unknown, is: (entry: unknown) => entry is T): value is T[] {
  return Array.isArray(value) && value.every((entry) => is(entry));
}

function isIndex(value: unknown): value is IndexRecord {
  const raw = asRecord(value);
  return (
    raw !== undefined && isText(raw['name']) && isListOf(raw['documents'], isDocument) && raw['documents'].length > 0
  );
}

function isDocument(value: unknown): value is IndexRecord['documents'][number] {
  const raw = asRecord(value);
  return raw !== undefined && isText(raw['mediaType']) && isDigestText(raw['digest']) && isSize(raw['size']);
}

function imageLayer(value: unknown): ImageLayerRecord | undefined {
  const raw = asRecord(value);
  if (raw === undefined) return undefined;
  const { diffID, digest, mediaType, size } = raw;
  if (!isDigestText(diffID) || !isDigestText(digest) || !isText(mediaType) || !isSize(size)) return undefined;
  return { diffID: diffID as DiffID, digest, mediaType, size };
}

/** Databases whose values are JSON. */
export type JsonTable = keyof typeof FORMS;

/** Whether a key may stand in a database. */
export function isKey(table: JsonTable, key: string): boolean {
  return table === 'names' || table === 'snapshots' || table === 'leases' ? key.length > 0 : isDigest(key);
}
