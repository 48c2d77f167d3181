/** Repairs of content: objects, layers, merged trees, manifests, configs and blobs, from wherever they can be had. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestHex, type ChainID, type Digest, type DiffID } from '../../../core/digest.js';
import { LayerfsError } from '../../../core/error.js';
import { parseConfig } from '../../../core/oci/config.js';
import { checkAborted } from '../../errors.js';
import { makeManifest } from '../../import/import.js';
import { mergedTree } from '../../trees.js';
import { Affected, objectIn } from '../affected.js';
import { LAYER_FILES } from '../check-layer.js';
import type { Comparison } from '../compare.js';
import { readDocument } from '../compare-images.js';
import type { Finding } from '../problem.js';
import { remakeLayer, replaceFile } from './remake.js';
import type { Sources } from './sources.js';
import type { RepairWork } from './work.js';

/** Repairs what these findings say is damaged or missing; what cannot be repaired is moved away. */
export async function repairContent(
  work: RepairWork,
  comparison: Comparison,
  findings: readonly Finding[],
  sources: Sources,
): Promise<void> {
  await repairLayers(work, comparison, findings, sources);
  // From layers that are whole by now.
  for (const finding of findings) {
    checkAborted(work.options.signal);
    const { kind, path } = finding;
    if (kind === 'chain-damaged' || (kind === 'unreadable' && path.startsWith('chains/'))) {
      repairChain(work, comparison, path);
    } else if (kind === 'document-missing' || kind === 'document-damaged') {
      await repairDocument(work, comparison, path, sources);
    } else if (kind === 'blob-damaged' || (kind === 'unreadable' && path.startsWith('blobs/'))) {
      await repairBlob(work, comparison, path, sources);
    }
  }
}

/** Which files of which layers, and which objects, are damaged or missing. */
function needsOf(findings: readonly Finding[]): { layers: Map<DiffID, Set<string>>; objects: Set<string> } {
  const layers = new Map<DiffID, Set<string>>();
  const objects = new Set<string>();
  for (const { kind, path } of findings) {
    const [, hex, file] = /^layers\/([0-9a-f]{64})(?:\/(tree|tar|objects))?$/.exec(path) ?? [];
    const object = objectIn(path);
    if (
      ['object-damaged', 'object-missing', 'unreadable'].includes(kind) &&
      object !== undefined &&
      !path.startsWith('meta:')
    ) {
      objects.add(object);
    } else if (
      hex !== undefined &&
      ['layer-missing', 'layer-mismatch', 'layer-file-missing', 'layer-file-damaged', 'unreadable'].includes(kind)
    ) {
      const diffID = `sha256:${hex}` as DiffID;
      const files = layers.get(diffID) ?? new Set<string>();
      for (const name of file === undefined ? LAYER_FILES : [file]) files.add(name);
      layers.set(diffID, files);
    }
  }
  return { layers, objects };
}

async function repairLayers(
  work: RepairWork,
  comparison: Comparison,
  findings: readonly Finding[],
  sources: Sources,
): Promise<void> {
  const { layers, objects } = needsOf(findings);
  const affected = new Affected(comparison, findings);
  const left = new Set(objects);
  const damagedFiles = new Map([...layers].map(([diffID, files]) => [diffID, [...files]]));
  // Every layer that has something damaged, and for each object the layers that hold it: one of them may be had.
  const queue = new Set<DiffID>(layers.keys());
  for (const hex of objects) for (const diffID of affected.layersOf(hex)) queue.add(diffID);
  for (const diffID of queue) {
    checkAborted(work.options.signal);
    const files = damagedFiles.get(diffID) ?? [];
    const list = comparison.lists.byLayer.get(diffID);
    const mine =
      list === undefined
        ? new Set(left)
        : new Set([...Array(list.count).keys()].map((i) => list.hex(i)).filter((hex) => left.has(hex)));
    if (files.length === 0 && mine.size === 0) continue;
    // Of its own it can only be made where nothing that the tar is made of is missing.
    const own = mine.size === 0 && !files.includes('tar') && !files.includes('objects');
    const made = await remakeLayer(work, diffID, sources.layer(diffID, comparison, own), { files, objects: mine });
    if (made === undefined) continue;
    damagedFiles.delete(diffID);
    for (const hex of made) left.delete(hex);
  }
  for (const [diffID, files] of damagedFiles) giveUpLayer(work, comparison, diffID, files);
  for (const hex of left) giveUpObject(work, comparison, affected, hex);
}

/** A layer whose object list is lost is nothing any more; the others keep what is sound of them. */
function giveUpLayer(work: RepairWork, { records }: Comparison, diffID: DiffID, files: readonly string[]): void {
  const { paths, metadata, facts } = work.state;
  const folder = `layers/${digestHex(diffID)}`;
  if (files.includes('objects')) {
    if (existsSync(paths.layer(diffID))) work.quarantine.move(folder);
    for (const name of ['', ...LAYER_FILES.map((file) => `/${file}`)]) {
      work.quarantined(folder + name, 'moved to quarantine with all of the layer: no source has it');
    }
    facts.layers.delete(diffID);
    // Without a record an import takes the layer in again.
    if (records.layers.has(diffID)) {
      work.quarantine.record(`meta:layers/${diffID}`, metadata?.raw('layers', diffID));
      metadata?.write((writer) => writer.remove('layers', diffID));
    }
    return;
  }
  for (const name of files) {
    const path = `${folder}/${name}`;
    if (existsSync(join(paths.root, path))) work.quarantine.move(path);
    work.quarantined(path, 'moved to quarantine: no source has the layer');
  }
}

function giveUpObject(work: RepairWork, { mounts, lists }: Comparison, affected: Affected, hex: string): void {
  const path = `objects/${hex.slice(0, 2)}/${hex.slice(2)}`;
  if (!existsSync(join(work.state.paths.root, path))) return work.failed(path, 'no source has a layer that holds it');
  const layers = new Set(affected.layersOf(hex));
  const user = mounts.living.find((mount) =>
    mount.layers.some((diffID) => layers.has(diffID) || !lists.byLayer.has(diffID)),
  );
  if (user !== undefined || mounts.unknown) {
    const where = user === undefined ? 'a mount' : `the mount on ${user.mountpoint}`;
    return work.failed(path, `no source has it; left as it is for ${where}, which may read what is sound of it`);
  }
  if (layers.size === 0 && lists.unreadable.length > 0)
    return work.failed(path, 'nobody can tell which layer holds it');
  work.quarantine.move(path);
  // Whoever is adding a layer just now, and found it here, looks again.
  work.state.metadata?.write((writer) => writer.countDeletion());
  work.quarantined(path, 'moved to quarantine: no source has a layer that holds it');
}

function repairChain(work: RepairWork, { images, mounts }: Comparison, path: string): void {
  if (path.endsWith('/erofs')) {
    // A mount that stands on it has a name of its own for it.
    work.quarantine.move(path);
    return work.done(path, 'moved to quarantine: it is made again for the next kernel mount');
  }
  const { paths, xxhash } = work.state;
  const chainID = `sha256:${path.split('/')[1]}` as ChainID;
  const layers =
    images.find((image) => image.chainID === chainID)?.record.layers.map(({ diffID }) => diffID) ??
    mounts.living.find((mount) => mount.chainID === chainID)?.layers;
  work.tell(`merged tree ${digestHex(chainID).slice(0, 12)}`);
  try {
    if (layers === undefined) throw new LayerfsError('not-found', 'nothing tells its layers');
    const merged = mergedTree(
      layers.map((diffID) => paths.layerTree(diffID)),
      xxhash,
    );
    const made = join(work.folder, 'tree');
    writeFileSync(made, merged, { mode: 0o400 });
    work.sync();
    replaceFile(work, made, `chains/${digestHex(chainID)}/tree`);
    work.done(path, 'merged again from its layers');
  } catch (error) {
    if (!(error instanceof LayerfsError)) throw error;
    if (existsSync(join(paths.root, path))) work.quarantine.move(path);
    rmSync(join(paths.chains, digestHex(chainID)), { recursive: true, force: true });
    work.quarantined(path, `moved to quarantine: its layers do not give it (${error.message})`);
  }
}

async function repairDocument(work: RepairWork, comparison: Comparison, path: string, sources: Sources): Promise<void> {
  const digest = `sha256:${path.split('/')[2]}` as Digest;
  work.tell(`document ${digestHex(digest).slice(0, 12)}`);
  const found = (await sources.document(digest, comparison)) ?? manifestAgain(work, comparison, digest);
  if (found === undefined) {
    const file = join(work.state.paths.root, path);
    if (!existsSync(file)) return work.failed(path, 'no source has it');
    work.quarantine.move(path);
    return work.quarantined(path, 'moved to quarantine: no source has it');
  }
  const made = join(work.folder, 'document');
  writeFileSync(made, found.bytes, { mode: 0o400 });
  work.sync();
  replaceFile(work, made, path);
  work.done(path, `taken from ${found.what}`);
}

/** A manifest that layerfs made itself it can make again. */
function manifestAgain(
  { state }: RepairWork,
  { images }: Comparison,
  digest: Digest,
): { what: string; bytes: Uint8Array } | undefined {
  const record = images.find((image) => image.record.digest === digest)?.record;
  const bytes = record === undefined ? undefined : readDocument(state, record.config, 'config', []);
  if (record === undefined || bytes === undefined) return undefined;
  const config = { bytes, digest: record.config, parsed: parseConfig(bytes, record.config) };
  const manifest = makeManifest(config, record.layers);
  return manifest.digest === digest ? { what: 'what the records say', bytes: manifest.bytes } : undefined;
}

async function repairBlob(work: RepairWork, comparison: Comparison, path: string, sources: Sources): Promise<void> {
  const digest = `sha256:${path.split('/')[2]}` as Digest;
  work.tell(`blob ${digestHex(digest).slice(0, 12)}`);
  const source = sources.blob(digest, comparison);
  if (source !== undefined && (await takeBlob(work, path, sources, source.layer))) {
    return work.done(path, `taken from ${source.what}`);
  }
  work.quarantine.move(path);
  work.done(path, 'moved to quarantine: the layer is whole without it, only exports are uncompressed now');
}

async function takeBlob(
  work: RepairWork,
  path: string,
  sources: Sources,
  layer: Parameters<Sources['intake']>[0],
): Promise<boolean> {
  const made = join(work.folder, 'blob');
  rmSync(made, { force: true });
  const intake = sources.intake(layer);
  try {
    await intake.keep(made);
    await intake.finish();
  } catch (error) {
    if (!(error instanceof LayerfsError) || error.code === 'aborted') throw error;
    return false;
  } finally {
    await intake.close();
  }
  work.sync();
  replaceFile(work, made, path);
  return true;
}
