/** Media types of the OCI image spec 1.1 (media-types.md) and of Docker's image manifest version 2, schema 2. */
import { LayerfsError } from '../error.js';
import { shown } from './json.js';

/** The types that this library writes. */
export const MEDIA_TYPE = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
} as const;

/** How a layer blob packs its tar. */
export type Compression = 'none' | 'gzip' | 'zstd';

const INDEXES: ReadonlySet<string> = new Set([
  MEDIA_TYPE.index,
  'application/vnd.docker.distribution.manifest.list.v2+json',
]);
const MANIFESTS: ReadonlySet<string> = new Set([
  MEDIA_TYPE.manifest,
  'application/vnd.docker.distribution.manifest.v2+json',
]);
const CONFIGS: ReadonlySet<string> = new Set([MEDIA_TYPE.config, 'application/vnd.docker.container.image.v1+json']);
const LAYERS: ReadonlyMap<string, Compression> = new Map([
  [MEDIA_TYPE.layer, 'none'],
  [`${MEDIA_TYPE.layer}+gzip`, 'gzip'],
  [`${MEDIA_TYPE.layer}+zstd`, 'zstd'],
  ['application/vnd.oci.image.layer.nondistributable.v1.tar', 'none'],
  ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', 'gzip'],
  ['application/vnd.oci.image.layer.nondistributable.v1.tar+zstd', 'zstd'],
  ['application/vnd.docker.image.rootfs.diff.tar', 'none'],
  ['application/vnd.docker.image.rootfs.diff.tar.gzip', 'gzip'],
  ['application/vnd.docker.image.rootfs.diff.tar.zstd', 'zstd'],
  ['application/vnd.docker.image.rootfs.foreign.diff.tar', 'none'],
  ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 'gzip'],
]);

/** Whether a descriptor of this type leads to a list of manifests. */
export function isIndexType(mediaType: string): boolean {
  return INDEXES.has(mediaType);
}

/** Whether a descriptor of this type leads to a manifest that this library reads. */
export function isManifestType(mediaType: string): boolean {
  return MANIFESTS.has(mediaType);
}

/** Whether a config of this type describes a container image. */
export function isConfigType(mediaType: string): boolean {
  return CONFIGS.has(mediaType);
}

/** Whether a layer of this type may be left out of what a registry gives (its bytes have to come from elsewhere). */
export function isForeignLayerType(mediaType: string): boolean {
  return mediaType.includes('.foreign.') || mediaType.includes('.nondistributable.');
}

/** How a layer of this type is packed. @throws LayerfsError unimplemented for types that are no layer of a root filesystem */
export function layerCompression(mediaType: string): Compression {
  const compression = LAYERS.get(mediaType);
  if (compression !== undefined) return compression;
  throw new LayerfsError('unimplemented', `media type ${shown(mediaType)} is not a layer type that layerfs reads`);
}
