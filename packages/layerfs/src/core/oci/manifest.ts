/** Image manifests: OCI (image spec, manifest.md) and Docker's schema 2. Schema 1 is refused. */
import type { Digest } from '../digest.js';
import { LayerfsError } from '../error.js';
import { parseDescriptor, type Descriptor } from './descriptor.js';
import { parseDocument, shown, type Fields } from './json.js';
import { isConfigType, isIndexType, isManifestType, layerCompression, MEDIA_TYPE } from './media-types.js';

/** Most layers that an image may have; Docker stops at 127, kernel overlayfs at 500. */
export const MAX_LAYERS = 1000;

/** One image for one platform. Layers lowest first. */
export interface Manifest {
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Parses a manifest; `bytes` stay what its digest covers.
 * @throws LayerfsError invalid-argument naming the field; unimplemented for schema 1, artifacts and unknown layer types
 */
export function parseManifest(bytes: Uint8Array, digest: Digest): Manifest {
  const what = `manifest ${digest}`;
  const fields = parseDocument(bytes, what);
  checkSchema(fields);
  const mediaType = fields.string('mediaType', 255) ?? MEDIA_TYPE.manifest;
  if (isIndexType(mediaType) || fields.value['manifests'] !== undefined) {
    throw new LayerfsError('invalid-argument', `${what} is an index where a manifest was expected`);
  }
  if (!isManifestType(mediaType)) {
    throw new LayerfsError('unimplemented', `${fields.name('mediaType')}: not a manifest type: ${shown(mediaType)}`);
  }
  const configFields = fields.object('config');
  if (configFields === undefined) throw fields.invalid('config', 'missing');
  const config = parseDescriptor(configFields);
  if (!isConfigType(config.mediaType)) {
    throw new LayerfsError(
      'unimplemented',
      `${what} is no container image: its config has media type ${shown(config.mediaType)}`,
    );
  }
  const list = fields.objects('layers', MAX_LAYERS);
  if (list === undefined) throw fields.invalid('layers', 'missing');
  if (list.length === 0) throw fields.invalid('layers', 'an image without layers holds no files');
  const layers = list.map((entry) => layerOf(entry));
  const annotations = fields.strings('annotations');
  return { mediaType, config, layers, ...(annotations === undefined ? {} : { annotations }) };
}

function layerOf(entry: Fields): Descriptor {
  const descriptor = parseDescriptor(entry);
  try {
    layerCompression(descriptor.mediaType);
  } catch (error) {
    if (!(error instanceof LayerfsError)) throw error;
    throw new LayerfsError(error.code, `${entry.what}: ${error.message}`, { cause: error });
  }
  return descriptor;
}

/** @throws LayerfsError unless `schemaVersion` is 2 */
export function checkSchema(fields: Fields): void {
  const version = fields.number('schemaVersion');
  if (version === 2) return;
  if (version === 1) {
    throw new LayerfsError(
      'unimplemented',
      `${fields.what} has schema version 1, which was given up in 2017: convert the image (for example with skopeo copy)`,
    );
  }
  throw fields.invalid('schemaVersion', version === undefined ? 'missing' : `${version} is not known (2 is)`);
}
