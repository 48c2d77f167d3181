import { closeSync, existsSync, mkdirSync, openSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { describe, expect, test } from 'vitest';
import { BASE, TOP, layoutOf, listing, tarOf, two } from '../small-images.test-support.js';
import { openStore } from '../store.js';
import { storeForEachTest } from '../test-store.test-support.js';

const here = storeForEachTest();
const ROOT = process.geteuid?.() === 0;

const app = async (): Promise<void> => {
  await here.store.import(layoutOf(here.fresh(), { latest: two() }), { name: 'app' });
};
const inSnapshots = (): string[] => readdirSync(join(here.root, 'snapshots'));

describe('making', () => {
  test('an empty upper folder with the attributes of the root', async () => {
    const owner = ROOT ? { uid: 5, gid: 6 } : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    const root = tarOf({ path: './', type: '5', mode: 0o1751, mtimeSec: 1000, mtimeNsec: 5, ...owner });
    await here.store.import(here.file(root), { name: 'rooted' });
    const snapshot = await here.store.createSnapshot('rooted', { name: 'work' });
    expect(snapshot).toMatchObject({ name: 'work', ref: 'rooted:latest', mountpoints: [] });
    expect(snapshot.id).toMatch(/^[0-9a-f]{16}$/);
    expect(snapshot.upper).toBe(join(here.root, 'snapshots', snapshot.id, 'upper'));
    const stats = statSync(snapshot.upper, { bigint: true });
    expect(stats.mode & 0o7777n).toBe(0o1751n);
    expect(stats.mtimeNs).toBe(1_000_000_000_005n);
    if (ROOT) expect([stats.uid, stats.gid]).toEqual([5n, 6n]);
    expect(readdirSync(snapshot.upper)).toEqual([]);
    expect(readdirSync(snapshot.work)).toEqual([]);
    expect(await here.store.diff('work')).toEqual([]);
    expect(here.store.snapshot('work')).toEqual(snapshot);
    expect((await here.store.snapshotTree('work')).chainID).toBe(here.store.image('rooted').chainID);
  });

  test('names: made up, taken, wrong', async () => {
    await app();
    const { name } = await here.store.createSnapshot('app');
    expect(name).toMatch(/^app-[0-9a-f]{6}$/);
    await here.store.createSnapshot('app', { name: 'a' });
    await expect(here.store.createSnapshot('app', { name: 'a' })).rejects.toMatchObject({ code: 'already-exists' });
    for (const bad of ['', '../x', 'a/b', 'ä', 'a\n', 'x'.repeat(129), 'a b']) {
      await expect(here.store.createSnapshot('app', { name: bad })).rejects.toMatchObject({ code: 'invalid-argument' });
    }
    await here.store.createSnapshot('app', { name: 'x'.repeat(128) });
    await expect(here.store.createSnapshot('none')).rejects.toMatchObject({ code: 'not-found' });
    expect(here.store.snapshots().map((each) => each.name)).toEqual(['a', name, 'x'.repeat(128)].toSorted());
    expect(inSnapshots()).toHaveLength(3);
    for (const wrong of ['b', '', 'x'.repeat(10_000), '../a']) {
      expect(() => here.store.snapshot(wrong)).toThrow(/no snapshot/);
      await expect(here.store.removeSnapshot(wrong)).rejects.toMatchObject({ code: 'not-found' });
      await expect(here.store.diff(wrong)).rejects.toMatchObject({ code: 'not-found' });
    }
  });

  test('of an image of another name, and by its ID', async () => {
    await here.store.import(here.file(BASE), { name: 'host:5000/a/my.app:1.2' });
    const { name, ref } = await here.store.createSnapshot('host:5000/a/my.app:1.2');
    expect(name).toMatch(/^my\.app-/);
    expect(ref).toBe('host:5000/a/my.app:1.2');
    const { digest } = here.store.image(ref);
    const byID = await here.store.createSnapshot(digest.slice(7, 19));
    expect(byID).toMatchObject({ ref: digest, image: digest });
    expect(byID.name).toMatch(/^snapshot-/);
  });
});

describe('removing', () => {
  test('takes everything with it', async () => {
    await app();
    const before = listing(here.root);
    const { upper, work } = await here.store.createSnapshot('app', { name: 'work' });
    mkdirSync(join(upper, 'closed'), { mode: 0 });
    mkdirSync(join(work, 'work'), { mode: 0 });
    writeFileSync(join(upper, 'file'), 'x');
    expect(await here.store.removeSnapshot('work')).toEqual({ name: 'work', freedBytes: 0, freedObjects: 0 });
    expect(listing(here.root)).toEqual(before);
    expect(here.store.snapshots()).toEqual([]);
  });

  test('not while it is mounted', async () => {
    await app();
    await here.store.createSnapshot('app', { name: 'work' });
    await here.store.createSnapshot('app', { name: 'other' });
    const { digest, chainID } = here.store.image('app');
    const entry = join(here.root, 'mounts/1.json');
    const info = { mountpoint: '/mnt', image: digest, chainID, layers: [], snapshot: 'work' };
    writeFileSync(entry, JSON.stringify(info));
    const fd = openSync(entry, 'r');
    expect(tryFlock(fd, LOCK.EX)).toBe(true);
    expect(here.store.snapshot('work').mountpoints).toEqual(['/mnt']);
    await expect(here.store.removeSnapshot('work')).rejects.toMatchObject({
      code: 'failed-precondition',
      message: expect.stringContaining('/mnt') as unknown,
    });
    await here.store.removeSnapshot('other');
    closeSync(fd);
    const work = openSync(here.store.snapshot('work').work, 'r');
    expect(tryFlock(work, LOCK.EX)).toBe(true);
    await expect(here.store.removeSnapshot('work')).rejects.toThrow(/in use/);
    closeSync(work);
    await here.store.removeSnapshot('work');
  });
});

describe('what a snapshot needs stays', () => {
  test('an image with snapshots is removed by force only, and its layers with the last snapshot', async () => {
    await app();
    await here.store.import(here.file(BASE), { name: 'base' });
    await here.store.createSnapshot('app', { name: 'one' });
    await here.store.createSnapshot('app', { name: 'two' });
    await expect(here.store.removeImage('app')).rejects.toThrow(/one, two/);
    const removed = await here.store.removeImage('app', { force: true });
    expect(removed).toMatchObject({ untagged: ['app:latest'], freedObjects: 0, snapshots: ['one', 'two'] });
    expect(await here.store.gc()).toMatchObject({ objects: 0, layers: 0 });
    const { upper } = here.store.snapshot('one');
    writeFileSync(join(upper, 'new'), 'new\n');
    const { image } = await here.store.commit('one', 'app:2');
    expect(image.layers.map(({ reused }) => reused)).toEqual([true, true, false]);
    expect(await here.contentOf('app:2', 'etc/motd')).toBe('bye\n');
    await here.store.removeImage('app:2');
    await here.store.removeSnapshot('two');
    expect(existsSync(here.store.paths.chainTree((await here.store.snapshotTree('one')).chainID))).toBe(true);
    expect(await here.store.removeSnapshot('one')).toMatchObject({ freedObjects: 1, freedBytes: 4 });
    await here.store.removeImage('base');
    for (const folder of ['objects', 'layers', 'chains', 'blobs/sha256', 'ingest', 'snapshots']) {
      expect(readdirSync(join(here.root, folder))).toEqual([]);
    }
  });

  test('one of several names goes as ever, and gc leaves an image without a name', async () => {
    await app();
    here.store.tag('app', 'also');
    await here.store.createSnapshot('app', { name: 'work' });
    expect(await here.store.removeImage('app')).toMatchObject({ untagged: ['app:latest'], deleted: [] });
    await here.store.import(here.file(BASE), { name: 'also' });
    expect(await here.store.gc()).toMatchObject({ images: [], layers: 0 });
    await here.store.removeSnapshot('work');
    expect((await here.store.gc()).images).toHaveLength(1);
  });

  test('the chain is made again when it was lost', async () => {
    await app();
    await here.store.createSnapshot('app', { name: 'work' });
    await here.store.removeImage('app', { force: true });
    await here.store.removeSnapshot('work');
    await app();
    await here.store.createSnapshot('app', { name: 'work' });
    writeFileSync(join(here.store.snapshot('work').upper, 'also'), 'x');
    expect(await here.store.diff('work')).toMatchObject([{ path: '' }, { kind: 'changed', path: 'also' }]);
  });
});

test('du counts what was changed', async () => {
  await app();
  const { upper } = await here.store.createSnapshot('app', { name: 'work' });
  writeFileSync(join(upper, 'file'), Buffer.alloc(100_000, 1));
  const { snapshots } = await here.store.usage();
  expect(snapshots).toMatchObject([{ name: 'work', ref: 'app:latest', entries: 1 }]);
  expect(snapshots[0].bytes).toBeGreaterThanOrEqual(100_000);
  expect(snapshots[0].bytes).toBeLessThan(200_000);
});

test('folders of snapshots that were never recorded, or are no longer, are removed when the store is opened', async () => {
  await app();
  const { id } = await here.store.createSnapshot('app', { name: 'work' });
  mkdirSync(join(here.root, 'snapshots/0123456789abcdef/upper/closed'), { recursive: true, mode: 0o700 });
  await using again = await openStore({ root: here.root });
  expect(inSnapshots()).toEqual([id]);
  expect(again.snapshots()).toHaveLength(1);
});

test('images compared', async () => {
  await app();
  await here.store.import(here.file(BASE), { name: 'base' });
  await here.store.import(here.file(TOP), { name: 'top' });
  const lines = (changes: readonly { kind: string; path: string }[]): string[] =>
    changes.map(({ kind, path }) => `${kind} ${path}`);
  expect(lines(await here.store.diff('base', 'app'))).toEqual(['added also', 'changed etc/motd', 'deleted gone']);
  expect(lines(await here.store.diff('app', 'base'))).toEqual(['deleted also', 'changed etc/motd', 'added gone']);
  expect(await here.store.diff('app', 'app')).toEqual([]);
  await expect(here.store.diff('app', 'none')).rejects.toMatchObject({ code: 'not-found' });
});
