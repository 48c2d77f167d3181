/** Eight processes use one store at the same time, in every way. LAYERFS_CONCURRENCY_SECONDS makes it longer (default 20). */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkStore, openStore, type Store } from '../packages/layerfs/dist/index.js';
import { imageOf, layoutOf, tarOf, type SmallImage } from '../packages/layerfs/dist/store/small-images.test-support.js';
import { missing } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';
import { mountsBelow } from './support/store-listing.js';

const SECONDS = Number(process.env['LAYERFS_CONCURRENCY_SECONDS'] ?? 20);
const PROCESSES = 8;
const IMAGES = 20;
const USER = fileURLToPath(new URL('support/store-user.mjs', import.meta.url));
const HELD_UP = fileURLToPath(new URL('support/held-up.cjs', import.meta.url));
const HELD_UP_OFTEN = { ...process.env, HELD_UP: '60' };
const LIBRARY = new URL('../packages/layerfs/dist/index.js', import.meta.url).href;

let work: string;
beforeEach(() => {
  work = scratchFolder('layerfs-concurrency-');
});
afterEach(() => {
  rmSync(work, { recursive: true, force: true });
});

/** Layers of files that many of them share. */
function layer(number: number): Buffer {
  const files = Array.from({ length: 40 }, (_, i) => ({
    path: `files/${(number * 7 + i) % 90}`,
    // The same content under several names and in several layers.
    data: `content ${((number * 7 + i) % 90) % 50}\n`.repeat(20),
  }));
  return tarOf({ path: 'files/' }, ...files);
}

/** Image `number`: some shared layers, and one of its own with a file that says which image it is. */
function image(number: number): SmallImage {
  const bases = [[0], [1], [0, 1], [2, 3], [0, 2], [4], [4, 5], []][number % 8].map((each) => layer(each));
  const own = tarOf(
    { path: 'id', data: `image ${number}\n` },
    { path: 'files/' },
    { path: 'files/own', data: `${number}` },
  );
  return imageOf([...bases, own]);
}

async function run(
  root: string,
  layouts: string,
  number: number,
  { seconds, mounts, heldUp }: { seconds: number; mounts: boolean; heldUp: boolean },
): Promise<unknown> {
  const folder = join(work, `user-${number}`);
  const seed = 1 + number * 7919;
  const parameters = [root, layouts, IMAGES, seconds, seed, folder, mounts ? 'yes' : 'no'].map(String);
  const before = heldUp ? ['--require', HELD_UP] : [];
  const child = spawn(process.execPath, [...before, USER, ...parameters], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  expect({ code, signal, errors }).toEqual({ code: 0, signal: null, errors: '' });
  expect(readdirSync(folder)).toEqual([]);
  return JSON.parse(out);
}

/** Names in the folders of a store that hold what images consist of. */
function held(root: string): Record<string, string[]> {
  const objects = readdirSync(join(root, 'objects')).flatMap((prefix) =>
    readdirSync(join(root, 'objects', prefix)).map((rest) => `${prefix}${rest}`),
  );
  const other = ['layers', 'chains', 'blobs/sha256', 'snapshots', 'ingest', 'trash', 'mounts'];
  return { objects, ...Object.fromEntries(other.map((name) => [name, readdirSync(join(root, name)).toSorted()])) };
}

async function checkExports(store: Store, images: readonly SmallImage[]): Promise<void> {
  for (const { name, digest } of store.images()) {
    const number = Number(/image-(\d+)/.exec(name ?? '')?.[1]);
    expect(digest).toBe(images[number].manifest.digest);
    const out = join(work, `export-${number}`);
    expect(await store.export(name!, out)).toMatchObject({ digest, rebuilt: false });
    for (const file of readdirSync(join(out, 'blobs/sha256'))) {
      const sum = createHash('sha256')
        .update(readFileSync(join(out, 'blobs/sha256', file)))
        .digest('hex');
      expect(sum).toBe(file);
      expect(images[number].blobs.has(`sha256:${file}`)).toBe(true);
    }
  }
}

test.each([
  { held: 'as fast as they can', seconds: SECONDS, heldUp: false },
  { held: 'held up between any two calls', seconds: SECONDS / 2, heldUp: true },
])(
  'eight processes import, mount, read, export, remove, collect and check the same twenty images, $held',
  { timeout: (SECONDS + 240) * 1000 },
  async ({ seconds, heldUp }) => {
    const reason = missing('fuse');
    if (reason !== undefined) console.warn(`skipped: mounts beside imports and removals: ${reason}`);
    const root = join(work, 'store');
    const images = Array.from({ length: IMAGES }, (_, number) => image(number));
    for (const [number, each] of images.entries()) layoutOf(join(work, 'layouts', `${number}`), { latest: each });
    const runs = Array.from({ length: PROCESSES }, (_, number) =>
      run(root, join(work, 'layouts'), number, { seconds, mounts: reason === undefined, heldUp }),
    );
    const results = (await Promise.allSettled(runs)).map((each) => {
      if (each.status === 'rejected') throw each.reason;
      return each.value;
    });
    console.log(total(results as Result[]));
    expect(mountsBelow(work)).toEqual([]);

    const store = await openStore({ root });
    try {
      expect(await store.gc()).toMatchObject({ disagreeing: 0, problems: [], freed: { strays: { count: 0 } } });
      expect(await store.gc({ dryRun: true })).toMatchObject({ freedBytes: 0, layers: 0, objects: 0, images: [] });
      expect(await checkStore(root)).toMatchObject({ state: 'sound', problems: [], unsettled: [] });
      // What is there is what the images that are left consist of, and nothing else.
      const expected = await freshStore(store.images().map(({ name }) => Number(/image-(\d+)/.exec(name ?? '')?.[1])));
      expect(held(root)).toEqual({ ...expected, ingest: [], trash: [], mounts: [], snapshots: [] });
      expect(store.leases.list()).toEqual([]);
      await checkExports(store, images);
      for (const { name } of store.images()) await store.removeImage(name!);
      for (const [kind, names] of Object.entries(held(root))) expect({ kind, names }).toEqual({ kind, names: [] });
      expect(await store.gc()).toMatchObject({ freedBytes: 0, disagreeing: 0, kept: [] });
    } finally {
      await store.close();
    }
  },
);

/** What a store holds that was only ever given these images. */
async function freshStore(numbers: readonly number[]): Promise<Record<string, string[]>> {
  const root = join(work, 'fresh');
  const store = await openStore({ root });
  for (const number of numbers) {
    await store.import(join(work, 'layouts', `${number}`), { name: `image-${number}` });
  }
  await store.close();
  return held(root);
}

interface Result {
  readonly done: Readonly<Record<string, number>>;
  readonly refused: Readonly<Record<string, number>>;
}

function total(results: readonly Result[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const { done, refused } of results) {
    for (const [what, count] of Object.entries({ ...done, ...refused })) sum[what] = (sum[what] ?? 0) + count;
  }
  return sum;
}

test('the same layer, imported by six at once, is read once', { timeout: 60_000 }, async () => {
  const root = join(work, 'store');
  const layout = layoutOf(join(work, 'layout'), { latest: image(3) });
  const stores = await Promise.all(Array.from({ length: 6 }, () => openStore({ root })));
  const states: string[] = [];
  const results = await Promise.all(
    stores.map((store, number) =>
      store.import(layout, {
        name: `copy-${number}`,
        onProgress: (event) => {
          if (event.kind === 'layer' && event.state === 'done') states.push(event.digest);
        },
      }),
    ),
  );
  expect(states.toSorted()).toEqual(
    image(3)
      .layers.map(({ digest }) => digest)
      .toSorted(),
  );
  expect(new Set(results.map(({ images: [{ digest }] }) => digest)).size).toBe(1);
  expect(await stores[0].gc()).toMatchObject({ disagreeing: 0, freedBytes: 0 });
  for (const store of stores) await store.close();
  expect(existsSync(join(root, 'ingest'))).toBe(true);
});

test('a store that six make at once is made, and nobody is refused', { timeout: 120_000 }, async () => {
  const layout = layoutOf(join(work, 'layout'), { latest: image(7) });
  const rounds = 12;
  // All begin each round at the same moment.
  const program = `
    const { openStore } = await import(${JSON.stringify(LIBRARY)});
    for (let round = 0; round < ${rounds}; round++) {
      const at = ${Date.now() + 2000} + round * 250;
      while (Date.now() < at) await new Promise((resolve) => setTimeout(resolve, at - Date.now()));
      const store = await openStore({ root: ${JSON.stringify(join(work, 'below/store-'))} + round });
      await store.import(${JSON.stringify(layout)}, { name: 'same' });
      await store.close();
    }`;
  const made = Array.from({ length: 6 }, async () => {
    const args = ['--require', HELD_UP, '--input-type=module', '--eval', program];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], env: HELD_UP_OFTEN });
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, errors };
  });
  for (const each of await Promise.all(made)) expect(each).toEqual({ code: 0, errors: '' });
  for (let round = 0; round < rounds; round++) {
    expect(await checkStore(join(work, `below/store-${round}`))).toMatchObject({ state: 'sound', problems: [] });
  }
});
