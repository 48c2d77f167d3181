/** What records there should be, by the files of a store whose records are lost. */
import { statSync } from 'node:fs';
import { digestHex, type Digest, type DiffID } from '../../core/digest.js';
import type { BlobRecord, ImageRecord, LayerRecord } from '../meta.js';
import { imageOf, readDocument } from './compare-images.js';
import { namesIn } from './compare-places.js';
import type { Records } from './metadata.js';
import { parseJson } from './record-forms.js';
import type { Finding } from './problem.js';
import type { CheckState } from './state.js';

/** No manifest is larger. */
const MAX_MANIFEST = 4 << 20;

/**
 * The records, or when they are lost those that the files ask for.
 * @param unreadable why they cannot be read
 * @param layers names of the folders of layers
 */
export function lostRecords(
  state: CheckState,
  unreadable: string | undefined,
  layers: readonly string[],
  findings: Finding[],
): { records: Records; lost: boolean } {
  const records = state.metadata?.read();
  if (records !== undefined && (!isEmpty(records) || layers.length === 0)) return { records, lost: false };
  const adopted = adopt(state);
  if (records !== undefined && adopted.images.size === 0) return { records, lost: false };
  const there = `${adopted.images.size} images and ${adopted.layers.size} layers by their files`;
  findings.push(
    records === undefined
      ? { kind: 'metadata-unreadable', path: 'meta', expected: `records of ${there}`, found: unreadable ?? 'nothing' }
      : { kind: 'metadata-lost', path: 'meta', expected: `records of ${there}`, found: 'no record at all' },
  );
  return { records: adopted, lost: true };
}

function isEmpty({ names, images, layers, blobs, snapshots, findings }: Records): boolean {
  return names.size + images.size + layers.size + blobs.size + snapshots.size + findings.length === 0;
}

/** Images of all manifests whose config is there, under names made up: those that they had are gone. */
function adopt(state: CheckState): Records {
  const images = new Map<Digest, ImageRecord>();
  const names = new Map<string, Digest>();
  const layers = new Map<DiffID, LayerRecord>();
  const blobs = new Map<Digest, BlobRecord>();
  for (const name of namesIn(state.paths.blobs)) {
    if (!/^[0-9a-f]{64}$/.test(name)) continue;
    const record = imageFrom(state, `sha256:${name}` as Digest);
    if (record === undefined) continue;
    images.set(record.digest, record);
    names.set(`recovered:${digestHex(record.digest).slice(0, 12)}`, record.digest);
    for (const { digest, diffID, mediaType } of record.layers) {
      const blob = state.facts.blobs.get(digest);
      if (blob?.diffID === diffID) blobs.set(digest, { diffID, size: blob.size, mediaType });
      const layer = state.facts.layers.get(diffID);
      if (layer !== undefined) layers.set(diffID, layer);
    }
  }
  return { names, images, layers, blobs, snapshots: new Map(), leases: new Map(), removals: new Map(), findings: [] };
}

/** The record of the image whose manifest this blob is, if it is one and its config is there. */
export function imageFrom(state: Pick<CheckState, 'paths' | 'uid'>, digest: Digest): ImageRecord | undefined {
  const stats = statSync(state.paths.blob(digest), { throwIfNoEntry: false });
  if (stats === undefined || !stats.isFile() || stats.size > MAX_MANIFEST) return undefined;
  const bytes = readDocument(state, digest, 'manifest', []);
  if (bytes === undefined || bytes[0] !== 0x7b) return undefined;
  const raw = parseJson(bytes.toString('utf8')) as Record<string, unknown> | undefined;
  if (raw?.['config'] === undefined || raw['layers'] === undefined) return undefined;
  const image = imageOf(state, { digest, config: digest }, []);
  return image === undefined ? undefined : { ...image, imported: stats.mtime.toISOString() };
}
