/** Which image of those that an index lists is wanted, and what its documents say. */
import type { Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { parseConfig, type ImageConfig } from '../../core/oci/config.js';
import type { Descriptor } from '../../core/oci/descriptor.js';
import { isAttestation, MAX_INDEX_DEPTH, MAX_MANIFESTS, parseIndex } from '../../core/oci/image-index.js';
import { shown } from '../../core/oci/json.js';
import { parseManifest, type Manifest } from '../../core/oci/manifest.js';
import { isIndexType, isManifestType } from '../../core/oci/media-types.js';
import { formatPlatform, parsePlatform, platformMatch, type Platform } from '../../core/oci/platform.js';
import { currentPlatform } from './host.js';
import type { Selection, SourceImage, SourceLayer } from './source.js';

/** Where documents and layers are: a layout, or a registry. `referrer` names in messages who refers to them. */
export interface Documents {
  /** A manifest, index or config, whose size and digest are verified. */
  read(descriptor: Descriptor, referrer: string): Promise<Uint8Array>;
  /** How to get a layer. May refuse one that cannot be had. */
  layer(descriptor: Descriptor, referrer: string): Promise<Pick<SourceLayer, 'open' | 'file' | 'fetch'>>;
}

/** A manifest that is listed. */
export interface Candidate {
  readonly descriptor: Descriptor;
  /** Who refers to it, for messages. */
  readonly referrer: string;
  readonly platform?: Platform;
}

/** The manifest of a group that serves the platform best. */
export async function choose(
  documents: Documents,
  entries: readonly Descriptor[],
  referrer: string,
  label: string,
  selection: Selection,
  notes: string[],
): Promise<Candidate> {
  const wanted = parsePlatform(selection.platform ?? currentPlatform());
  const withPlatform = await candidatesOf(documents, entries, referrer);
  let best: Candidate | undefined;
  let score = 0;
  for (const candidate of withPlatform) {
    // A lone manifest that does not say is judged by its config, later.
    const match = candidate.platform === undefined ? 0.5 : platformMatch(wanted, candidate.platform);
    if (match <= score) continue;
    score = match;
    best = candidate;
  }
  if (best !== undefined) return best;
  const there = withPlatform.map(({ platform }) => (platform === undefined ? 'unknown' : formatPlatform(platform)));
  const hint = selection.platform === undefined ? '; choose one with --platform' : '';
  const message = `${label} is not there for platform ${formatPlatform(wanted)}; there is ${listed(there)}${hint}`;
  notes.push(message);
  throw new LayerfsError('not-found', message);
}

/** All images that are listed, with their platforms where there are several. @throws LayerfsError not-found without any */
export async function candidatesOf(
  documents: Documents,
  entries: readonly Descriptor[],
  referrer: string,
): Promise<Candidate[]> {
  const candidates: Candidate[] = [];
  for (const entry of entries) await collect(documents, entry, referrer, 0, candidates, new Set());
  if (candidates.length === 0) throw new LayerfsError('not-found', 'its index lists no image');
  if (candidates.length === 1) return candidates;
  const withPlatform: Candidate[] = [];
  for (const candidate of candidates) withPlatform.push(await platformOfCandidate(documents, candidate));
  return withPlatform;
}

/** Follows indexes down to manifests. */
async function collect(
  documents: Documents,
  entry: Descriptor,
  referrer: string,
  depth: number,
  out: Candidate[],
  seen: Set<Digest>,
): Promise<void> {
  if (isAttestation(entry) || seen.has(entry.digest)) return;
  seen.add(entry.digest);
  if (isIndexType(entry.mediaType)) {
    if (depth >= MAX_INDEX_DEPTH) {
      throw new LayerfsError(
        'invalid-argument',
        `index ${entry.digest}: indexes nested more than ${MAX_INDEX_DEPTH} deep`,
      );
    }
    if (seen.size > MAX_MANIFESTS)
      throw new LayerfsError('invalid-argument', `indexes with more than ${MAX_MANIFESTS} entries`);
    const what = `index ${entry.digest}`;
    const { manifests } = parseIndex(await documents.read(entry, referrer), what);
    for (const below of manifests) await collect(documents, below, what, depth + 1, out, seen);
  } else if (isManifestType(entry.mediaType)) {
    const { platform } = entry;
    out.push({ descriptor: entry, referrer, ...(platform === undefined ? {} : { platform }) });
  } else if (depth === 0) {
    throw new LayerfsError(
      'unimplemented',
      `${referrer} lists ${entry.digest} with media type ${shown(entry.mediaType)}, which is neither manifest nor index`,
    );
  }
}

async function platformOfCandidate(documents: Documents, candidate: Candidate): Promise<Candidate> {
  if (candidate.platform !== undefined) return candidate;
  const { config } = await readManifest(documents, candidate);
  return config.platform === undefined ? candidate : { ...candidate, platform: config.platform };
}

async function readManifest(
  documents: Documents,
  { descriptor, referrer }: Candidate,
): Promise<{ bytes: Uint8Array; manifest: Manifest; configBytes: Uint8Array; config: ImageConfig }> {
  const bytes = await documents.read(descriptor, referrer);
  const manifest = parseManifest(bytes, descriptor.digest);
  const configBytes = await documents.read(manifest.config, `manifest ${descriptor.digest}`);
  return { bytes, manifest, configBytes, config: parseConfig(configBytes, manifest.config.digest) };
}

/** Reads an image's manifest and config; the layers are left where they are. */
export async function readImage(
  documents: Documents,
  candidate: Candidate,
  names: readonly string[],
  selection: Selection,
  notes: string[],
): Promise<SourceImage> {
  const { descriptor } = candidate;
  const { bytes, manifest, configBytes, config } = await readManifest(documents, candidate);
  const what = `manifest ${descriptor.digest}`;
  if (config.diffIDs.length !== manifest.layers.length) {
    throw new LayerfsError(
      'invalid-argument',
      `config ${manifest.config.digest}: ${config.diffIDs.length} diff_ids for the ${manifest.layers.length} layers of ${what}`,
    );
  }
  checkPlatform(config, selection, notes);
  const layers: SourceLayer[] = [];
  for (const [index, layer] of manifest.layers.entries()) {
    const where = await documents.layer(layer, what);
    layers.push({
      what: `layer ${index + 1} of ${manifest.layers.length} (blob ${layer.digest})`,
      diffID: config.diffIDs[index],
      digest: layer.digest,
      size: layer.size,
      mediaType: layer.mediaType,
      ...where,
    });
  }
  return {
    names,
    manifest: { bytes, digest: descriptor.digest, mediaType: manifest.mediaType },
    config: { bytes: configBytes, digest: manifest.config.digest, parsed: config },
    layers,
  };
}

/** An image asked for by platform must be of it; one that is just there is taken with a note. */
export function checkPlatform(config: ImageConfig, selection: Selection, notes: string[]): void {
  const { platform } = config;
  const wanted = parsePlatform(selection.platform ?? currentPlatform());
  if (platform === undefined || platformMatch(wanted, platform) > 0) return;
  const is = formatPlatform(platform);
  if (selection.platform !== undefined) {
    throw new LayerfsError(
      'not-found',
      `the image is not there for platform ${formatPlatform(wanted)}; there is ${is}`,
    );
  }
  notes.push(`the image is for platform ${is}: its programs may not run on this machine (${formatPlatform(wanted)})`);
}

/** Some names, for a message. */
export function listed(names: readonly string[]): string {
  const some = names.slice(0, 10).map((name) => shown(name).replaceAll('"', ''));
  return names.length > some.length ? `${some.join(', ')} and ${names.length - some.length} more` : some.join(', ');
}
