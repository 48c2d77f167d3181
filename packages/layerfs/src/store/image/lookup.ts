import type { Digest } from '../../core/digest.js';
import { digestHex } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { formatReference, idPrefix, parseReference } from '../../core/oci/reference.js';
import { shown } from '../../core/oci/json.js';
import type { ImageRecord, Meta } from '../meta.js';

/** An image as it was asked for. */
export interface FoundImage {
  /** The name it was found by, in full; undefined when it was found by its digest. */
  readonly name?: string;
  readonly record: ImageRecord;
}

/**
 * Finds an image by name (`debian`, `debian:12`, `debian@sha256:…`), or by its ID: the manifest's or the config's digest,
 * or at least 4 hex digits of one.
 * @throws LayerfsError not-found saying what there is; invalid-argument when it is no name, or an ID fits several images
 */
export function findImage(meta: Meta, ref: string): FoundImage {
  return meta.reading(() => lookUp(meta, ref));
}

function lookUp(meta: Meta, ref: string): FoundImage {
  const prefix = idPrefix(ref);
  let parsed: ReturnType<typeof parseReference> | undefined;
  try {
    parsed = parseReference(ref);
  } catch (error) {
    if (prefix === undefined || !(error instanceof LayerfsError)) throw error;
  }
  if (parsed?.digest !== undefined) return byDigest(meta, ref, parsed.name, parsed.digest);
  const name = parsed === undefined ? undefined : formatReference(parsed);
  const digest = name === undefined ? undefined : meta.named(name);
  const record = digest === undefined ? undefined : meta.image(digest);
  if (record !== undefined && name !== undefined) return { name, record };
  const found = prefix === undefined ? [] : byPrefix(meta, prefix);
  if (found.length === 1) return { record: found[0] };
  if (found.length > 1) {
    throw new LayerfsError('invalid-argument', `${ref} is the beginning of ${found.length} IDs: give more digits`);
  }
  throw notFound(meta, name ?? ref);
}

function byDigest(meta: Meta, ref: string, name: string, digest: Digest): FoundImage {
  const record = meta.image(digest);
  const known = meta.names().filter((entry) => entry.digest === digest);
  if (record !== undefined && (known.length === 0 || known.some((entry) => entry.name.startsWith(`${name}:`)))) {
    return { record };
  }
  throw notFound(meta, ref);
}

function byPrefix(meta: Meta, prefix: string): ImageRecord[] {
  return meta
    .images()
    .filter(({ digest, config }) => digestHex(digest).startsWith(prefix) || digestHex(config).startsWith(prefix));
}

function notFound(meta: Meta, ref: string): LayerfsError {
  const names = meta.names().map(({ name }) => name);
  const some = names.slice(0, 5).join(', ');
  const there =
    names.length === 0
      ? 'the store holds none'
      : `there is ${some}${names.length > 5 ? `, and ${names.length - 5} more` : ''}`;
  return new LayerfsError('not-found', `no image ${shown(ref).replaceAll('"', '')} in the store; ${there}`);
}
