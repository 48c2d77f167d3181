/** Images: manifests and configs against their digests and against what the records say; blobs and chains that nobody needs. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { digestHex, type Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { parseConfig, type ImageConfig } from '../../core/oci/config.js';
import { parseManifest, type Manifest } from '../../core/oci/manifest.js';
import { formatPlatform } from '../../core/oci/platform.js';
import { isErrno } from '../errors.js';
import type { ImageRecord } from '../meta.js';
import { chainOf } from '../trees.js';
import { checkFile, SEALED_MODE } from './file-claims.js';
import { foreign } from './compare-places.js';
import type { LivingMount } from './mounts.js';
import { neededImages, recordPath, type Records } from './metadata.js';
import type { Finding } from './problem.js';
import type { CheckState } from './state.js';

const HEX = /^[0-9a-f]{64}$/;
/** Manifests and configs are refused beyond this by import. */
const MAX_DOCUMENT = 64 << 20;

/** Names, images, manifests and configs. */
export function compareImages(state: CheckState, records: Records, findings: Finding[]): void {
  for (const [name, digest] of records.names) {
    if (records.images.has(digest)) continue;
    // One that cannot be read is told as that.
    if (records.findings.some(({ path }) => path === recordPath('images', digest))) continue;
    findings.push({
      kind: 'name-dangling',
      path: recordPath('names', name),
      expected: `a record of image ${digest}`,
      found: 'none',
    });
  }
  const seen = new Set<string>();
  for (const { record, labels } of neededImages(records)) {
    const snapshot = labels[0].startsWith('snapshot ') ? labels[0].slice(9) : undefined;
    const lease = labels[0].startsWith('lease ') ? labels[0].slice(6) : undefined;
    const path =
      snapshot !== undefined
        ? recordPath('snapshots', snapshot)
        : lease === undefined
          ? recordPath('images', record.digest)
          : recordPath('leases', lease);
    const told = seen.has(record.digest);
    seen.add(record.digest);
    const own: Finding[] = [];
    const wanted = imageOf(state, record, own);
    // A snapshot's image and the image itself have the same documents.
    if (!told) findings.push(...own);
    for (const digest of indexDocuments(record)) {
      if (!seen.has(digest)) readDocument(state, digest, 'document of an index', findings);
      seen.add(digest);
    }
    if (wanted === undefined) continue;
    const difference = differenceOf(record, wanted) ?? contentDifference(state, record);
    if (difference !== undefined) findings.push({ kind: 'image-record-wrong', path, ...difference });
  }
}

function indexDocuments({ indexes = [] }: ImageRecord): Digest[] {
  return indexes.flatMap(({ documents }) => documents.map(({ digest }) => digest));
}

/** Media types are as whoever brought the image called them, which may be another name for the same thing. */
function comparable(record: Omit<ImageRecord, 'imported'>): [field: string, value: unknown][] {
  const { digest, size, config, platform, created, chainID, layers } = record;
  const parts = layers.map((layer) => ({ diffID: layer.diffID, digest: layer.digest, size: layer.size }));
  return Object.entries({ digest, size, config, platform, created, chainID, layers: parts });
}

function differenceOf(
  record: ImageRecord,
  wanted: Omit<ImageRecord, 'imported'>,
): { expected: string; found: string } | undefined {
  const found = comparable(record);
  for (const [i, [field, value]] of comparable(wanted).entries()) {
    const expected = JSON.stringify(value) ?? 'nothing';
    const is = JSON.stringify(found[i][1]) ?? 'nothing';
    if (is !== expected) return { expected: `${field} ${expected}`, found: is };
  }
  return undefined;
}

/** Of the bytes of its content, where all of its layers are whole. */
function contentDifference(
  { facts }: CheckState,
  { contentSize, layers }: ImageRecord,
): { expected: string; found: string } | undefined {
  const sizes = layers.map(({ diffID }) => facts.layers.get(diffID)?.contentSize);
  const sum = sizes.reduce((total, size) => (total === undefined || size === undefined ? undefined : total + size), 0);
  if (sum === undefined || contentSize === undefined || sum === contentSize) return undefined;
  return { expected: `contentSize ${sum}`, found: `${contentSize}` };
}

/** What the documents say of an image, as far as its record must agree; undefined when they are not whole. */
export function imageOf(
  state: Pick<CheckState, 'paths' | 'uid'>,
  { digest, config: configDigest }: Pick<ImageRecord, 'digest' | 'config'>,
  findings: Finding[],
): Omit<ImageRecord, 'imported'> | undefined {
  const bytes = readDocument(state, digest, 'manifest', findings);
  const manifest = bytes === undefined ? undefined : parsed(() => parseManifest(bytes, digest), digest, findings);
  // The manifest knows better which one it is.
  const config = readConfig(state, manifest?.config.digest ?? configDigest, findings);
  if (bytes === undefined || manifest === undefined || config === undefined) return undefined;
  return describe(bytes, digest, manifest, config);
}

function describe(
  bytes: Uint8Array,
  digest: Digest,
  manifest: Manifest,
  config: ImageConfig,
): Omit<ImageRecord, 'imported'> | undefined {
  if (config.diffIDs.length !== manifest.layers.length) return undefined;
  return {
    digest,
    size: bytes.length,
    config: manifest.config.digest,
    platform: config.platform === undefined ? '' : formatPlatform(config.platform),
    ...(config.created === undefined ? {} : { created: config.created }),
    chainID: chainOf(config.diffIDs),
    mediaType: manifest.mediaType,
    layers: manifest.layers.map((layer, i) => ({
      diffID: config.diffIDs[i],
      digest: layer.digest,
      mediaType: layer.mediaType,
      size: layer.size,
    })),
  };
}

function readConfig(
  state: Pick<CheckState, 'paths' | 'uid'>,
  digest: Digest,
  findings: Finding[],
): ImageConfig | undefined {
  const bytes = readDocument(state, digest, 'config', findings);
  return bytes === undefined ? undefined : parsed(() => parseConfig(bytes, digest), digest, findings);
}

function parsed<T>(parse: () => T, digest: Digest, findings: Finding[]): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof LayerfsError)) throw error;
    findings.push({
      kind: 'document-damaged',
      path: blobPath(digest),
      expected: 'a document of an image',
      found: error.message,
    });
    return undefined;
  }
}

/** A manifest or config, when it is what its digest says. */
export function readDocument(
  { paths, uid }: Pick<CheckState, 'paths' | 'uid'>,
  digest: Digest,
  what: string,
  findings: Finding[],
): Buffer | undefined {
  const path = blobPath(digest);
  const before = findings.length;
  const stats = checkFile(paths.root, path, { ...SEALED_MODE, uid }, findings);
  const damaged = (found: string): undefined => {
    findings.push({ kind: 'document-damaged', path, expected: `a ${what} with digest ${digest}`, found });
  };
  if (stats === undefined) {
    if (findings.length === before)
      findings.push({ kind: 'document-missing', path, expected: `a ${what}`, found: 'nothing' });
    return undefined;
  }
  if (stats.size > MAX_DOCUMENT) return damaged(`${stats.size} bytes`);
  try {
    const bytes = readFileSync(paths.blob(digest));
    const hex = createHash('sha256').update(bytes).digest('hex');
    return hex === digestHex(digest) ? bytes : damaged(`sha256:${hex}, ${bytes.length} bytes`);
  } catch (error) {
    if (!isErrno(error, 'EIO', 'EACCES', 'EUCLEAN')) throw error;
    findings.push({ kind: 'unreadable', path, expected: 'a file that can be read', found: (error as Error).message });
    return undefined;
  }
}

/**
 * Blobs against their records, and those that nothing names.
 * @param images those that must be whole
 * @param listed names of files, read before the records
 */
export function compareBlobs(
  state: CheckState,
  records: Records,
  images: readonly ImageRecord[],
  listed: readonly string[],
  findings: Finding[],
): void {
  const documents = new Set<Digest>(images.flatMap((image) => [image.digest, image.config, ...indexDocuments(image)]));
  const layers = new Map(images.flatMap((image) => image.layers).map((layer) => [layer.digest, layer]));
  for (const name of listed) {
    const digest = `sha256:${name}` as Digest;
    const path = blobPath(digest);
    if (!HEX.test(name)) findings.push(foreign(`blobs/sha256/${name}`));
    else if (documents.has(digest) || records.blobs.has(digest)) continue;
    else if (layers.has(digest)) {
      if (records.findings.some((finding) => finding.path === recordPath('blobs', digest))) continue;
      const expected = `a record of the layer ${layers.get(digest)?.diffID}`;
      findings.push({ kind: 'blob-record-missing', path: recordPath('blobs', digest), expected, found: 'none' });
    } else findings.push({ kind: 'blob-orphan', path, expected: 'an image or record that names it', found: 'none' });
  }
  for (const [digest, { diffID, size }] of records.blobs) {
    const path = recordPath('blobs', digest);
    const fact = state.facts.blobs.get(digest);
    const known = layers.get(digest);
    if (fact?.diffID !== undefined && (fact.diffID !== diffID || fact.size !== size)) {
      const expected = `${fact.diffID}, ${fact.size} bytes`;
      findings.push({ kind: 'blob-record-wrong', path, expected, found: `${diffID}, ${size} bytes` });
    } else if (!records.layers.has(diffID) && (known === undefined || known.diffID !== diffID)) {
      findings.push({
        kind: 'blob-record-wrong',
        path,
        expected: 'a layer of the store',
        found: `${diffID}, which is not`,
      });
    }
  }
}

/** Images that are known by name only: what a repair would record of them, as far as it is there. */
export function danglingImages(state: CheckState, records: Records): ImageRecord[] {
  const images: ImageRecord[] = [];
  for (const digest of new Set(records.names.values())) {
    if (records.images.has(digest) || !existsSync(state.paths.blob(digest))) continue;
    const image = imageOf(state, { digest, config: digest }, []);
    if (image !== undefined) images.push({ ...image, imported: '' });
  }
  return images;
}

/** Merged trees that nobody needs. */
export function compareChains(
  images: readonly ImageRecord[],
  living: readonly LivingMount[],
  listed: readonly string[],
  findings: Finding[],
): void {
  const needed = new Set<string>([...images.map(({ chainID }) => chainID), ...living.map(({ chainID }) => chainID)]);
  for (const name of listed) {
    const path = `chains/${name}`;
    if (/^\.\d+-/.test(name))
      findings.push({ kind: 'leftover', path, expected: 'a process that makes it', found: 'perhaps none' });
    else if (!HEX.test(name)) findings.push(foreign(path));
    else if (!needed.has(`sha256:${name}`))
      findings.push({ kind: 'chain-orphan', path, expected: 'an image that needs it', found: 'none' });
  }
}

/** Where a blob lies. */
export function blobPath(digest: Digest): string {
  return `blobs/sha256/${digestHex(digest)}`;
}
