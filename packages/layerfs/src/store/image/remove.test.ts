import { existsSync, readdirSync, writeFileSync, openSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { describe, expect, test } from 'vitest';
import { BASE, TOP, two, layoutOf } from '../small-images.test-support.js';
import { storeForEachTest } from '../test-store.test-support.js';

const here = storeForEachTest();

describe('removal', () => {
  test('the last name frees everything that only it needs', async () => {
    await here.store.import(layoutOf(here.fresh(), { latest: two() }), { name: 'app' });
    await here.store.import(here.file(BASE), { name: 'base' });
    here.store.tag('app', 'also');
    expect(await here.store.removeImage('app')).toMatchObject({ untagged: ['app:latest'], deleted: [] });
    const id = here.store.image('also').digest;
    here.store.tag('also', 'third');
    await expect(here.store.removeImage(id)).rejects.toMatchObject({ code: 'failed-precondition' });
    await here.store.removeImage('third');
    expect(await here.store.removeImage(id.slice(7, 19))).toMatchObject({ freedObjects: 1, freedBytes: 4 });
    expect(await here.contentOf('base', 'etc/motd')).toBe('hello\n');
    await here.store.removeImage('base');
    for (const folder of ['objects', 'layers', 'chains', 'blobs/sha256', 'ingest']) {
      expect(readdirSync(join(here.root, folder))).toEqual([]);
    }
    expect(await here.store.usage()).toMatchObject({
      objects: { count: 0, bytes: 0 },
      layers: { count: 0 },
      blobs: { count: 0 },
    });
  });

  test('a mounted image stays until forced, and its files until it is unmounted', async () => {
    await here.store.import(here.file(BASE), { name: 'app' });
    const { chainID, digest, layers } = here.store.image('app');
    const entry = join(here.root, 'mounts/1.json');
    const info = { mountpoint: '/mnt', image: digest, chainID, layers: layers.map(({ diffID }) => diffID) };
    writeFileSync(entry, JSON.stringify(info));
    const fd = openSync(entry, 'r');
    expect(tryFlock(fd, LOCK.EX)).toBe(true);
    await expect(here.store.removeImage('app')).rejects.toThrow(/\/mnt/);
    expect(await here.store.removeImage('app', { force: true })).toMatchObject({ freedObjects: 0, pinned: ['/mnt'] });
    expect(existsSync(here.store.paths.layerTree(layers[0].diffID))).toBe(true);
    closeSync(fd);
    expect(await here.store.gc()).toMatchObject({ objects: 3, layers: 1, pinned: [] });
    expect(readdirSync(join(here.root, 'objects'))).toEqual([]);
  });

  test('an image whose name went to another one is listed without a name, until gc', async () => {
    await here.store.import(here.file(BASE), { name: 'app' });
    await here.store.import(here.file(TOP), { name: 'app' });
    expect(here.store.images().map(({ name }) => name)).toEqual(['app:latest', undefined]);
    expect((await here.store.gc()).images).toHaveLength(1);
    expect(here.store.images()).toHaveLength(1);
  });
});

test('usage: what is shared and what is not', async () => {
  await here.store.import(here.file(BASE), { name: 'base' });
  await here.store.import(layoutOf(here.fresh(), { latest: two() }), { name: 'app' });
  const { images, savedByDedup } = await here.store.usage();
  expect(images.find(({ name }) => name === 'app:latest')).toMatchObject({ total: 24, shared: 20, unique: 4 });
  expect(images.find(({ name }) => name === 'base:latest')).toMatchObject({ total: 20, shared: 20, unique: 0 });
  expect(savedByDedup).toBe('the same\n'.length);
});

test('totals: the same numbers as usage, from the records, also after a removal', async () => {
  const same = async (): Promise<void> => {
    const { objects, layers, savedByDedup } = await here.store.usage();
    expect(here.store.totals()).toEqual({ objects, layers, savedByDedup });
  };
  await here.store.import(here.file(BASE), { name: 'base' });
  await same();
  await here.store.import(layoutOf(here.fresh(), { latest: two() }), { name: 'app' });
  await same();
  expect(here.store.totals().savedByDedup).toBe('the same\n'.length);
  await here.store.removeImage('app');
  await same();
});
