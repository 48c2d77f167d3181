/** Descriptors: what points at a blob (OCI image spec, descriptor.md). */
import { parseDigest, type Digest } from '../digest.js';
import { LayerfsError } from '../error.js';
import { shown, type Fields } from './json.js';
import { platformOf, type Platform } from './platform.js';

/** Points at a blob. `size` in bytes. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
}

/** Reads a descriptor. @throws LayerfsError naming the field */
export function parseDescriptor(fields: Fields): Descriptor {
  const mediaType = fields.requiredString('mediaType', 255);
  if (!/^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$/.test(mediaType)) {
    throw fields.invalid('mediaType', `not a media type: ${shown(mediaType)}`);
  }
  const digest = digestField(fields, 'digest');
  const size = fields.requiredSize('size');
  const annotations = fields.strings('annotations');
  const platform = fields.object('platform');
  const known = platform === undefined ? undefined : platformOf(platform);
  return {
    mediaType,
    digest,
    size,
    ...(annotations === undefined ? {} : { annotations }),
    ...(known === undefined ? {} : { platform: known }),
  };
}

/** A required field that holds a digest. @throws LayerfsError naming the field */
export function digestField(fields: Fields, field: string): Digest {
  return namedDigest(fields.requiredString(field, 1024), fields.name(field));
}

/** Parses a digest; errors name `where` it stands. */
export function namedDigest(text: string, where: string): Digest {
  try {
    return parseDigest(text);
  } catch (error) {
    if (!(error instanceof LayerfsError)) throw error;
    throw new LayerfsError(error.code, `${where}: ${error.message}`, { cause: error });
  }
}
