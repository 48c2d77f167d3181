/**
 * Damaged tars, indexes, manifests and configs go through the whole import, on disk: each is imported or refused with
 * one of our errors, none crashes, hangs or reaches outside the store, and a refused one leaves nothing.
 * The parsers alone meet many more in mutated-parsers.test.ts.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LayerfsError, openStore, type Store } from 'layerfs';
import { Layout, machine, MEDIA_TYPES, sha256 } from '../images/oci.js';
import { scratchFolder } from '../support/scratch.js';
import { mutateJson, mutateTar, Random } from './mutator.js';
import { smallBase, smallLayer } from './small-layer.js';

const TARS = 2000;
const JSONS = 1500;
/** One of these is far below a millisecond of work: a second means a loop that input can lengthen. */
const LONGEST_MS = 5000;

const work = scratchFolder('layerfs-mutated-');
const root = join(work, 'store');
let store: Store;

beforeAll(async () => {
  store = await openStore({ root });
});
afterAll(async () => {
  await store.close();
  rmSync(work, { recursive: true, force: true });
});

interface Tally {
  imported: number;
  refused: number;
  /** Refusals by the first words of their message, to see that they are not all the same one. */
  reasons: Map<string, number>;
}

async function attempt(path: string, seed: string, tally: Tally): Promise<void> {
  const start = performance.now();
  try {
    await store.import(path, { name: 'mutated' });
    tally.imported++;
  } catch (error) {
    if (!(error instanceof LayerfsError))
      throw new Error(`${seed}: not one of our errors: ${String(error)}`, { cause: error });
    if (error.code === 'internal') throw new Error(`${seed}: an internal error: ${error.message}`, { cause: error });
    tally.refused++;
    const reason = error.message.replace(/["'“].*?["'”]|\d+/g, '…').slice(-60);
    tally.reasons.set(reason, (tally.reasons.get(reason) ?? 0) + 1);
  }
  expect(performance.now() - start, `${seed}: took too long`).toBeLessThan(LONGEST_MS);
}

/** Ingest is empty and nothing stands beside the store that was not there. */
function expectClean(): void {
  expect(readdirSync(join(root, 'ingest'))).toEqual([]);
  expect(readdirSync(work).toSorted()).toEqual(['input', 'store']);
}

const newTally = (): Tally => ({ imported: 0, refused: 0, reasons: new Map() });

test(`${TARS} damaged tars`, { timeout: 300_000 }, async () => {
  const input = join(work, 'input');
  mkdirSync(input, { recursive: true });
  const original = smallLayer(true);
  const tally = newTally();
  const path = join(input, 'root.tar');
  for (let seed = 1; seed <= TARS; seed++) {
    writeFileSync(path, mutateTar(original, new Random(seed)));
    await attempt(path, `tar of seed ${seed}`, tally);
  }
  console.log(`${TARS} tars: ${tally.imported} imported, ${tally.refused} refused for ${tally.reasons.size} reasons`);
  expect(tally.imported).toBeGreaterThan(TARS / 20);
  expect(tally.refused).toBeGreaterThan(TARS / 4);
  expect(tally.reasons.size).toBeGreaterThan(20);
  expectClean();
});

test(`${JSONS} damaged indexes, manifests and configs`, { timeout: 300_000 }, async () => {
  const input = join(work, 'input');
  mkdirSync(input, { recursive: true });
  const path = join(input, 'layout');
  const layout = await Layout.create(path);
  const layers = [
    await layout.addLayer(Readable.from([smallBase()]), 'gzip'),
    await layout.addLayer(Readable.from([smallLayer()]), 'gzip'),
  ];
  const manifest = await layout.addImage(layers, machine());
  const parse = async (digest: string): Promise<Record<string, unknown>> =>
    JSON.parse(await readFile(layout.blobPath(digest), 'utf8')) as Record<string, unknown>;
  const sound = await parse(manifest.digest);
  const soundConfig = await parse((sound['config'] as { digest: string }).digest);
  const index = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.index,
    manifests: [{ ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'latest' } }],
  };
  const write = (text: string): { digest: string; size: number } => {
    const bytes = Buffer.from(text, 'utf8');
    const digest = sha256(bytes);
    writeFileSync(layout.blobPath(digest), bytes);
    return { digest, size: bytes.length };
  };
  const tally = newTally();
  for (let seed = 1; seed <= JSONS; seed++) {
    const random = new Random(seed);
    let changed = sound;
    let indexText = JSON.stringify(index);
    const made: string[] = [];
    if (seed % 3 === 0) indexText = mutateJson(index, random);
    else {
      let manifestText: string;
      if (seed % 3 === 1) manifestText = mutateJson(sound, random);
      else {
        const config = write(mutateJson(soundConfig, random));
        made.push(config.digest);
        changed = { ...sound, config: { mediaType: MEDIA_TYPES.config, ...config } };
        manifestText = JSON.stringify(changed);
      }
      const descriptor = write(manifestText);
      made.push(descriptor.digest);
      indexText = JSON.stringify({ ...index, manifests: [{ ...index.manifests[0], ...descriptor }] });
    }
    writeFileSync(join(path, 'index.json'), indexText);
    await attempt(path, `JSON of seed ${seed}`, tally);
    for (const digest of made) if (digest !== manifest.digest) rmSync(layout.blobPath(digest), { force: true });
    if (made.includes((sound['config'] as { digest: string }).digest) || made.includes(manifest.digest)) {
      write(JSON.stringify(soundConfig));
      write(JSON.stringify(sound));
    }
  }
  console.log(
    `${JSONS} JSON documents: ${tally.imported} imported, ${tally.refused} refused for ${tally.reasons.size} reasons`,
  );
  expect(tally.imported).toBeGreaterThan(JSONS / 20);
  expect(tally.refused).toBeGreaterThan(JSONS / 4);
  expectClean();
});
