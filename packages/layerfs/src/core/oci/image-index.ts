/** Image indexes (OCI image spec, image-index.md; Docker: manifest list): manifests by platform and name. */
import { parseDescriptor, type Descriptor } from './descriptor.js';
import { parseDocument } from './json.js';
import { checkSchema } from './manifest.js';

/** Most entries of an index. */
export const MAX_MANIFESTS = 10_000;
/** An index may lead to another; so deep and no deeper. */
export const MAX_INDEX_DEPTH = 8;

/** A list of manifests or further indexes. */
export interface ImageIndex {
  readonly manifests: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Parses an index; `what` names it in messages. @throws LayerfsError invalid-argument naming the field */
export function parseIndex(bytes: Uint8Array, what: string): ImageIndex {
  const fields = parseDocument(bytes, what);
  checkSchema(fields);
  const list = fields.objects('manifests', MAX_MANIFESTS);
  if (list === undefined) throw fields.invalid('manifests', 'missing');
  const annotations = fields.strings('annotations');
  return {
    manifests: list.map((entry) => parseDescriptor(entry)),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/** Attestations (provenance, SBOM) that build tools put beside the images of an index: no image, and no platform. */
export function isAttestation(descriptor: Descriptor): boolean {
  if (descriptor.annotations?.['vnd.docker.reference.type'] !== undefined) return true;
  const { platform } = descriptor;
  return platform?.os === 'unknown' && platform.architecture === 'unknown';
}

/**
 * The name that an index gives to a manifest: containerd's and Docker's full name, else the spec's ref.name
 * (a tag or a full reference, as the writer liked).
 */
export function annotatedName(descriptor: Descriptor): { name?: string; tag?: string } {
  const full = descriptor.annotations?.['io.containerd.image.name'];
  const ref = descriptor.annotations?.['org.opencontainers.image.ref.name'];
  return { ...(full === undefined ? {} : { name: full }), ...(ref === undefined ? {} : { tag: ref }) };
}
