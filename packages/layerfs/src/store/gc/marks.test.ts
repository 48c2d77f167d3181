import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { expect, test } from 'vitest';
import { ObjectList } from '../object-list.js';
import { BASE, layoutOf, TOP, two } from '../small-images.test-support.js';
import { storeForEachTest } from '../test-store.test-support.js';
import { Meta } from '../meta.js';
import { StorePaths } from '../paths.js';
import { StoreLock } from '../store-lock.js';
import { loadXxhash } from '../hash.js';
import type { StoreContext } from '../context.js';
import { markReachable } from './marks.js';
import { proveCounts } from './counts.js';
import { ObjectTable } from './object-table.js';

const here = storeForEachTest();

async function withContext<T>(action: (context: StoreContext) => T | Promise<T>): Promise<T> {
  const paths = new StorePaths(here.root);
  const meta = new Meta(paths.records);
  const context = { paths, meta, lock: new StoreLock(paths), xxhash: await loadXxhash() };
  try {
    return await action(context);
  } finally {
    context.meta.close();
  }
}

test('everything that stays has its reasons', async () => {
  await here.store.import(layoutOf(here.fresh(), { latest: two() }), { name: 'app' });
  await here.store.import(here.file(BASE), { name: 'base' });
  await here.store.import(here.file(TOP), { name: 'lost' });
  await here.store.import(here.file(BASE), { name: 'lost' });
  await here.store.gc();
  await here.store.createSnapshot('app', { name: 'work' });
  const app = here.store.image('app');
  const base = here.store.image('base');
  await here.store.removeImage('app', { force: true });
  const entry = join(here.root, 'mounts/1.json');
  const layers = base.layers.map(({ diffID }) => diffID);
  writeFileSync(entry, JSON.stringify({ mountpoint: '/mnt', image: base.digest, chainID: base.chainID, layers }));
  const fd = openSync(entry, 'r');
  expect(tryFlock(fd, LOCK.EX)).toBe(true);
  const marks = await withContext(markReachable);
  closeSync(fd);
  expect(marks.images.get(base.digest)).toEqual([
    { by: 'name', name: 'base:latest' },
    { by: 'name', name: 'lost:latest' },
    { by: 'mount', mountpoint: '/mnt' },
  ]);
  expect(marks.images.get(app.digest)).toEqual([{ by: 'snapshot', snapshot: 'work' }]);
  expect(marks.layers.get(app.layers[1].diffID)).toEqual([{ by: 'snapshot', snapshot: 'work' }]);
  expect(marks.layers.get(layers[0])).toEqual([
    { by: 'snapshot', snapshot: 'work' },
    { by: 'mount', mountpoint: '/mnt' },
    { by: 'image', image: base.digest },
  ]);
  expect([...marks.chains.keys()].toSorted()).toEqual([app.chainID, base.chainID].toSorted());
  expect([...marks.documents.keys()].toSorted()).toEqual(
    [app.digest, app.configDigest, base.digest, base.configDigest].toSorted(),
  );
});

test('counts are proved by lists; what is wrong is told', async () => {
  await here.store.import(layoutOf(here.fresh(), { latest: two() }), { name: 'app' });
  await here.store.import(here.file(BASE), { name: 'base' });
  await withContext(async (context) => {
    expect(await proveCounts(context)).toMatchObject({ disagreeing: 0, disagreements: [], table: { count: 4 } });
    const key = Buffer.alloc(32, 7);
    const list = ObjectList.from(key, [5]);
    const { meta } = context;
    const [first] = meta.layers();
    // One count too many, and one too few.
    meta.transaction((writer) => {
      writer.addLayer(`sha256:${'0'.repeat(64)}` as never, first.layer, list);
      const own = ObjectList.read(join(context.paths.layer(first.diffID), 'objects'), context.xxhash);
      const layers = meta.objectCount(own.digest(0)) - 1;
      writer.setObjects([{ hex: own.hex(0), layers, size: own.size(0) }]);
    });
    mkdirSync(context.paths.layer(`sha256:${'0'.repeat(64)}` as never));
    ObjectList.from(Buffer.alloc(0), []).write(
      join(context.paths.layer(`sha256:${'0'.repeat(64)}` as never), 'objects'),
      context.xxhash,
    );
    const { disagreements, disagreeing } = await proveCounts(context);
    expect(disagreeing).toBe(2);
    expect(new Set(disagreements.map(({ counted, listed }) => counted - listed))).toEqual(new Set([-1, 1]));
    rmSync(context.paths.layer(`sha256:${'0'.repeat(64)}` as never), { recursive: true });
  });
});

test('a table of many objects finds each of them', () => {
  const table = new ObjectTable();
  const bytes = Buffer.alloc(5000 * 32);
  for (let i = 0; i < 5000; i++) {
    bytes.writeUInt32LE(i % 7, i * 32);
    bytes.writeUInt32LE(i, i * 32 + 4);
  }
  const list = ObjectList.from(
    bytes,
    Array.from({ length: 5000 }, (_, i) => i),
  );
  table.addList(list);
  table.addList(list, 4000);
  expect(table.count).toBe(5000);
  for (let i = 0; i < 5000; i++) {
    const at = table.find(list.digest(i));
    expect([table.countAt(at), table.sizeAt(at)]).toEqual([i < 4000 ? 1 : 2, i]);
  }
  expect(table.find(Buffer.alloc(32, 9))).toBe(-1);
});
