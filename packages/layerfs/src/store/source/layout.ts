/** Images of an OCI layout (OCI image spec, image-layout.md), in a folder or in an archive. */
import type { Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { parseConfig, type ImageConfig } from '../../core/oci/config.js';
import type { Descriptor } from '../../core/oci/descriptor.js';
import {
  annotatedName,
  isAttestation,
  MAX_INDEX_DEPTH,
  MAX_MANIFESTS,
  parseIndex,
} from '../../core/oci/image-index.js';
import { parseDocument, shown } from '../../core/oci/json.js';
import { parseManifest, type Manifest } from '../../core/oci/manifest.js';
import { isIndexType, isManifestType } from '../../core/oci/media-types.js';
import { formatPlatform, parsePlatform, platformMatch, type Platform } from '../../core/oci/platform.js';
import { blobPath, checkBlob, readDocument, type LayoutFiles } from './blobs.js';
import { currentPlatform } from './host.js';
import { isPicked, nameFor } from './naming.js';
import type { Selection, SourceImage, SourceLayer } from './source.js';

/** What an index lists under one name: manifests for one or several platforms. */
interface Group {
  /** As the index has it. */
  readonly label?: string;
  readonly entries: Descriptor[];
}

interface Candidate {
  readonly descriptor: Descriptor;
  /** Who refers to it, for messages. */
  readonly referrer: string;
  readonly platform?: Platform;
}

/**
 * Reads the images that are wanted; the layers are left where they are.
 * @param base what the layout is called, to name images that have a tag only
 * @throws LayerfsError not-found naming what is missing and who refers to it, or listing what there is instead
 */
export async function readLayout(
  files: LayoutFiles,
  selection: Selection,
  base: string | undefined,
  notes: string[],
): Promise<SourceImage[]> {
  await checkVersion(files);
  if ((await files.size('index.json')) === undefined) {
    throw new LayerfsError('not-found', 'an OCI layout without index.json: nothing tells which images it holds');
  }
  const index = parseIndex(await files.document('index.json'), 'index.json');
  const all = groupsOf(index.manifests.filter((entry) => !isAttestation(entry)));
  const images: SourceImage[] = [];
  for (const group of pickGroups(all, selection)) {
    const chosen = await choose(files, group, selection, notes);
    const name =
      selection.name ??
      nameFor(group.label, base) ??
      (group.label === undefined ? undefined : nameFor(undefined, base));
    images.push(await readImage(files, chosen, name === undefined ? [] : [name], selection, notes));
  }
  return images;
}

async function checkVersion(files: LayoutFiles): Promise<void> {
  // Some tools leave the marker out; when it is there it must be of a version we know.
  if ((await files.size('oci-layout')) === undefined) return;
  const fields = parseDocument(await files.document('oci-layout'), 'oci-layout');
  const version = fields.requiredString('imageLayoutVersion', 64);
  if (!version.startsWith('1.')) {
    throw new LayerfsError('unimplemented', `oci-layout, field imageLayoutVersion: ${shown(version)} is not known`);
  }
}

function groupsOf(entries: readonly Descriptor[]): Group[] {
  const groups = new Map<string, Group>();
  for (const entry of entries) {
    const { name, tag } = annotatedName(entry);
    const label = name ?? tag;
    // Unnamed manifests belong together when their platforms tell them apart.
    const key = label ?? (entry.platform === undefined ? entry.digest : '');
    const group = groups.get(key);
    if (group !== undefined) group.entries.push(entry);
    else groups.set(key, { ...(label === undefined ? {} : { label }), entries: [entry] });
  }
  return [...groups.values()];
}

function pickGroups(groups: readonly Group[], { pick, name }: Selection): readonly Group[] {
  if (groups.length === 0) throw new LayerfsError('not-found', 'index.json lists no image');
  const labels = groups.map((group) => group.label ?? group.entries[0].digest);
  if (pick !== undefined) {
    const exact = groups.filter((_, i) => labels[i] === pick);
    const picked = exact.length > 0 ? exact : groups.filter((_, i) => isPicked(labels[i], pick));
    if (picked.length === 0) {
      throw new LayerfsError('not-found', `no image ${shown(pick)} in it; there is ${listed(labels)}`);
    }
    return picked;
  }
  if (name !== undefined && groups.length > 1) {
    const picked = groups.filter((_, i) => isPicked(labels[i], name));
    if (picked.length === 1) return picked;
    throw new LayerfsError(
      'invalid-argument',
      `it holds ${groups.length} images, and one name was given: pick one as PATH:TAG out of ${listed(labels)}`,
    );
  }
  return groups;
}

/** The manifest of a group that serves the platform best. */
async function choose(files: LayoutFiles, group: Group, selection: Selection, notes: string[]): Promise<Candidate> {
  const wanted = parsePlatform(selection.platform ?? currentPlatform());
  const candidates: Candidate[] = [];
  for (const entry of group.entries) await collect(files, entry, 'index.json', 0, candidates, new Set());
  if (candidates.length === 0) throw new LayerfsError('not-found', 'its index lists no image');
  const withPlatform: Candidate[] = [];
  for (const candidate of candidates) {
    withPlatform.push(candidates.length === 1 ? candidate : await platformOfCandidate(files, candidate));
  }
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
  const image = group.label === undefined ? 'the image' : shown(group.label);
  const message = `${image} is not there for platform ${formatPlatform(wanted)}; there is ${listed(there)}${hint}`;
  notes.push(message);
  throw new LayerfsError('not-found', message);
}

/** Follows indexes down to manifests. */
async function collect(
  files: LayoutFiles,
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
    const { manifests } = parseIndex(await readDocument(files, entry, referrer), what);
    for (const below of manifests) await collect(files, below, what, depth + 1, out, seen);
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

async function platformOfCandidate(files: LayoutFiles, candidate: Candidate): Promise<Candidate> {
  if (candidate.platform !== undefined) return candidate;
  const { config } = await readManifest(files, candidate);
  return config.platform === undefined ? candidate : { ...candidate, platform: config.platform };
}

async function readManifest(
  files: LayoutFiles,
  { descriptor, referrer }: Candidate,
): Promise<{ bytes: Uint8Array; manifest: Manifest; configBytes: Uint8Array; config: ImageConfig }> {
  const bytes = await readDocument(files, descriptor, referrer);
  const manifest = parseManifest(bytes, descriptor.digest);
  const configBytes = await readDocument(files, manifest.config, `manifest ${descriptor.digest}`);
  return { bytes, manifest, configBytes, config: parseConfig(configBytes, manifest.config.digest) };
}

async function readImage(
  files: LayoutFiles,
  candidate: Candidate,
  names: readonly string[],
  selection: Selection,
  notes: string[],
): Promise<SourceImage> {
  const { descriptor } = candidate;
  const { bytes, manifest, configBytes, config } = await readManifest(files, candidate);
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
    await checkBlob(files, layer, what);
    const path = blobPath(layer.digest);
    const file = files.path(path);
    layers.push({
      what: `layer ${index + 1} of ${manifest.layers.length} (blob ${layer.digest})`,
      diffID: config.diffIDs[index],
      digest: layer.digest,
      size: layer.size,
      mediaType: layer.mediaType,
      ...(file === undefined ? {} : { file }),
      open: () => files.open(path),
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

function listed(names: readonly string[]): string {
  const some = names.slice(0, 10).map((name) => shown(name).replaceAll('"', ''));
  return names.length > some.length ? `${some.join(', ')} and ${names.length - some.length} more` : some.join(', ');
}
