/** What the store tells about its images. */
import { readFileSync, statSync } from 'node:fs';
import type { ChainID, Digest, DiffID } from '../../core/digest.js';
import { digestHex } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { layerHistory, parseConfig, type ImageConfig } from '../../core/oci/config.js';
import { parseManifest, type Manifest } from '../../core/oci/manifest.js';
import type { StoreContext } from '../context.js';
import { isErrno } from '../errors.js';
import type { ImageRecord, ImageSummary, Meta } from '../meta.js';
import { sha256 } from '../source/blobs.js';
import type { FoundImage } from './lookup.js';

/** An image in a list. Sizes in bytes. */
export interface ImageInfo {
  /** Undefined for an image that no name stands for any more. */
  readonly name?: string;
  /** Of the manifest. */
  readonly digest: Digest;
  readonly config: Digest;
  /** First 12 hex digits of the manifest's digest: enough to name it. */
  readonly id: string;
  readonly platform: string;
  /** ISO 8601, as the config has it. */
  readonly created?: string;
  /** When it came into this store, ISO 8601. */
  readonly imported: string;
  /** When it was last mounted, exported, checked out, read, made a snapshot of or imported; ISO 8601, to the hour. */
  readonly lastUsed: string;
  /** Content of all files of all layers. */
  readonly size: number;
  readonly layers: number;
}

/** A layer of an image. Sizes in bytes. */
export interface ImageLayer {
  readonly diffID: DiffID;
  /** Of the blob. */
  readonly digest: Digest;
  readonly mediaType: string;
  /** Of the blob. */
  readonly size: number;
  /** Of the tar. */
  readonly unpackedSize: number;
  /** Of the files in it. */
  readonly contentSize: number;
  readonly entries: number;
  readonly createdBy?: string;
  /** The compressed blob is in the store. A layer that came uncompressed is always given back as it was. */
  readonly blobKept: boolean;
}

/** Everything about an image. */
export interface Image {
  readonly name?: string;
  /** All names that stand for it. */
  readonly names: readonly string[];
  readonly digest: Digest;
  readonly mediaType: string;
  readonly platform: string;
  readonly chainID: ChainID;
  readonly created?: string;
  readonly imported: string;
  readonly manifest: Manifest;
  /** The config, as parsed from its JSON. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly configDigest: Digest;
  /** Base first. */
  readonly layers: readonly ImageLayer[];
}

/** A step of an image's history. */
export interface HistoryEntry {
  readonly created?: string;
  readonly createdBy?: string;
  readonly comment?: string;
  /** It changed the config only. */
  readonly empty: boolean;
  readonly diffID?: DiffID;
  /** Content of the layer's files, in bytes. */
  readonly size: number;
}

/** All images, by name; those without a name last. */
export function listImages(meta: Meta): ImageInfo[] {
  return meta.reading(() => imagesOf(meta));
}

function imagesOf(meta: Meta): ImageInfo[] {
  const images = new Map(meta.imageSummaries().map((summary) => [summary.digest, summary]));
  const list: ImageInfo[] = [];
  const named = new Set<Digest>();
  for (const { name, digest } of meta.names()) {
    const summary = images.get(digest);
    if (summary === undefined) continue;
    named.add(digest);
    list.push({ name, ...infoOf(meta, summary) });
  }
  for (const summary of images.values()) {
    if (!named.has(summary.digest)) list.push(infoOf(meta, summary));
  }
  return list;
}

/** One line about an image. */
export function imageInfo(meta: Meta, record: ImageRecord): Omit<ImageInfo, 'name'> {
  return infoOf(meta, { ...record, layers: record.layers.length, used: meta.lastUsed(record.digest) });
}

function infoOf(meta: Meta, image: ImageSummary): Omit<ImageInfo, 'name'> {
  const { digest, config, platform, created, imported, contentSize, layers } = image;
  return {
    digest,
    config,
    id: digestHex(digest).slice(0, 12),
    platform,
    ...(created === undefined ? {} : { created }),
    imported,
    lastUsed: lastUse(image, image.used),
    size: contentSize ?? contentSizeOf(meta, digest),
    layers,
  };
}

/** What older programs did not record. */
function contentSizeOf(meta: Meta, image: Digest): number {
  const layers = meta.image(image)?.layers ?? [];
  return layers.reduce((sum, { diffID }) => sum + (meta.layer(diffID)?.contentSize ?? 0), 0);
}

/** When an image was last used, ISO 8601. */
export function lastUsed(meta: Meta, record: ImageRecord): string {
  return lastUse(record, meta.lastUsed(record.digest));
}

function lastUse({ imported }: { readonly imported: string }, time: number | undefined): string {
  return time === undefined ? imported : new Date(time).toISOString();
}

/** Everything about an image. @throws LayerfsError corrupt when the store's own files are damaged */
export function describeImage(context: StoreContext, found: FoundImage): Image {
  const { meta } = context;
  const { record } = found;
  const config = imageConfig(context, record);
  const history = layerHistory(config);
  return {
    ...(found.name === undefined ? {} : { name: found.name }),
    names: namesOf(meta, record.digest),
    digest: record.digest,
    mediaType: record.mediaType,
    platform: record.platform,
    chainID: record.chainID,
    ...(record.created === undefined ? {} : { created: record.created }),
    imported: record.imported,
    manifest: parseManifest(readStoredBlob(context, record.digest), record.digest),
    config: config.raw,
    configDigest: record.config,
    layers: record.layers.map((layer, index) => {
      const known = meta.layer(layer.diffID);
      const createdBy = history[index]?.createdBy;
      return {
        ...layer,
        unpackedSize: known?.size ?? 0,
        contentSize: known?.contentSize ?? 0,
        entries: known?.entries ?? 0,
        ...(createdBy === undefined ? {} : { createdBy }),
        blobKept: layer.digest === layer.diffID || hasBlob(context, layer.digest),
      };
    }),
  };
}

/** The steps that made an image, newest first. */
export function imageHistory(context: StoreContext, record: ImageRecord): HistoryEntry[] {
  const config = imageConfig(context, record);
  const steps = config.history.filter((step) => !step.emptyLayer).length;
  // Without a history that accounts for every layer, the layers themselves are all there is to tell.
  const history =
    steps === record.layers.length ? config.history : record.layers.map(() => ({ emptyLayer: false }) as const);
  let next = 0;
  return history
    .map((step): HistoryEntry => {
      const { emptyLayer, ...rest } = { author: undefined, ...step };
      const diffID = emptyLayer ? undefined : record.layers[next++].diffID;
      const { author: _, ...shown } = rest;
      return {
        ...shown,
        empty: emptyLayer,
        ...(diffID === undefined ? {} : { diffID }),
        size: diffID === undefined ? 0 : (context.meta.layer(diffID)?.contentSize ?? 0),
      };
    })
    .toReversed();
}

/** The names of an image. */
export function namesOf(meta: Meta, digest: Digest): string[] {
  return meta
    .names()
    .filter((entry) => entry.digest === digest)
    .map(({ name }) => name);
}

/** An image's config. */
export function imageConfig(context: StoreContext, record: ImageRecord): ImageConfig {
  return parseConfig(readStoredBlob(context, record.config), record.config);
}

/** A manifest or config out of the store, verified. @throws LayerfsError corrupt */
export function readStoredBlob({ paths }: StoreContext, digest: Digest): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(paths.blob(digest));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    throw new LayerfsError('corrupt', `the store is damaged: blob ${digest} is missing`, { cause: error });
  }
  if (sha256(bytes) !== digest)
    throw new LayerfsError('corrupt', `the store is damaged: blob ${digest} does not match its digest`);
  return bytes;
}

/** Whether a blob's file is in the store. */
export function hasBlob({ paths }: StoreContext, digest: Digest): boolean {
  return blobSize(paths.blob(digest)) !== undefined;
}

function blobSize(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}
