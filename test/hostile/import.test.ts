/**
 * Bad layers and bad images: each is refused with an error that says what is wrong, by the library and by the command,
 * and the store is afterwards exactly as before.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LayerfsError, openStore, type Store } from 'layerfs';
import { tarOf } from '../images/tar.js';
import { layerfs } from '../support/cli.js';
import { scratchFolder } from '../support/scratch.js';
import { storeListing } from '../support/store-listing.js';
import { BAD_IMAGES, soundLayout } from './bad-images.js';
import { BAD_LAYERS } from './bad-layers.js';

const work = scratchFolder('layerfs-hostile-');
const root = join(work, 'store');
let store: Store;
let folders = 0;

beforeAll(async () => {
  store = await openStore({ root });
  // The store is not empty: a good image is there before, and must be there unharmed after.
  const folder = newFolder();
  const { path } = await soundLayout(folder, tarOf({ name: 'good', data: 'good content\n' }));
  await store.import(path, { name: 'good' });
});
afterAll(async () => {
  await store.close();
  rmSync(work, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = join(work, `case-${folders++}`);
  mkdirSync(folder);
  return folder;
}

/** What an import must leave unchanged: the store's files, its images, and everything beside the store. */
async function state(): Promise<unknown> {
  return {
    files: storeListing(root),
    images: store.images(),
    beside: readdirSync(work).filter((name) => !name.startsWith('case-')),
  };
}

/** An error for users: one of ours, not an accident, and it names what is wrong. */
async function expectLibraryRefuses(path: string, says: RegExp, maxLayerSize?: number): Promise<void> {
  const before = await state();
  const importing = store.import(path, { name: 'bad', ...(maxLayerSize === undefined ? {} : { maxLayerSize }) });
  const error: unknown = await importing.then(
    () => 'was imported',
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(LayerfsError);
  if (!(error instanceof LayerfsError)) return;
  expect(error.message).toMatch(says);
  expect(error.code).not.toBe('internal');
  expect(error.message.length).toBeLessThan(1000);
  expect(await state()).toEqual(before);
}

async function expectCommandRefuses(path: string, says: RegExp, maxLayerSize?: number): Promise<void> {
  const before = await state();
  const limit = maxLayerSize === undefined ? [] : ['--max-layer-size', String(maxLayerSize)];
  const { code, stdout, stderr } = await layerfs(['import', path, '--name', 'bad', ...limit], {
    env: { LAYERFS_ROOT: root },
  });
  expect(stderr).toMatch(says);
  expect(stderr).not.toMatch(/^ +at /m);
  expect(stderr.trim().split('\n').length).toBeLessThan(8);
  expect(code).toBeGreaterThan(0);
  expect(code).toBeLessThan(126);
  expect(stdout).toBe('');
  expect(await state()).toEqual(before);
}

describe('the library refuses', () => {
  test.each(BAD_IMAGES)('$what', async ({ make, says, maxLayerSize }) => {
    await expectLibraryRefuses(await make(newFolder()), says, maxLayerSize);
  });
  test.each(BAD_LAYERS)('a layer with $what', async ({ tar, says }) => {
    await expectLibraryRefuses((await soundLayout(newFolder(), tar())).path, says);
  });
  test.each(BAD_LAYERS)('a root filesystem tar with $what', async ({ tar, says }) => {
    const path = join(newFolder(), 'root.tar');
    writeFileSync(path, tar());
    // Some of these do not even look like a tar: then the error says that instead.
    await expectLibraryRefuses(path, new RegExp(`${says.source}|not an? .*(image|tar|archive)`, 'i'));
  });
});

describe('the command refuses', () => {
  test.each(BAD_IMAGES)('$what', async ({ make, says, maxLayerSize }) => {
    await expectCommandRefuses(await make(newFolder()), says, maxLayerSize);
  });
  // Errors of layers take the same way out: a few suffice.
  test.each(BAD_LAYERS.filter((_, index) => index % 9 === 0))('a layer with $what', async ({ tar, says }) => {
    await expectCommandRefuses((await soundLayout(newFolder(), tar())).path, says);
  });
});

test('the good image is still good', async () => {
  expect(store.images()).toHaveLength(1);
  const { code, stdout } = await layerfs(['cat', 'good', '/good'], { env: { LAYERFS_ROOT: root } });
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'good content\n' });
});
