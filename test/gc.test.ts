/** What goes and what stays: garbage collection, leases, pruning, and what the store says that it takes. */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkStore, openStore, type GcProgress, type Store } from '../packages/layerfs/dist/index.js';
import { Meta } from '../packages/layerfs/dist/store/meta.js';
import { imageOf, layoutOf, tarOf } from '../packages/layerfs/dist/store/small-images.test-support.js';
import { missing } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';
import { storeListing } from './support/store-listing.js';

const DIST = new URL('../packages/layerfs/dist/index.js', import.meta.url).href;

const noMounts = missing('root');
if (noMounts !== undefined) console.warn(`skipped: a disk without any room: ${noMounts}`);

let work: string;
let root: string;
let store: Store;
let number = 0;

beforeEach(async () => {
  work = scratchFolder('layerfs-gc-');
  root = join(work, 'store');
  store = await openStore({ root });
});
afterEach(async () => {
  await store.close();
  rmSync(work, { recursive: true, force: true });
});

/** A path that does not exist. */
const fresh = (): string => join(work, `${number++}`);

/** A tar of files, written to a file. */
function tarFile(files: Readonly<Record<string, string>>): string {
  const path = `${fresh()}.tar`;
  writeFileSync(path, tarOf(...Object.entries(files).map(([name, data]) => ({ path: name, data }))));
  return path;
}

/** Many files, of which no two are equal. */
function manyFiles(count: number, of = 'many'): string {
  return tarFile(Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, `${of} ${i}\n`])));
}

async function content(ref: string, path: string): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of (await store.readFile(ref, path)).content) parts.push(part);
  return Buffer.concat(parts).toString();
}

/** Everything of a store but what is of no image: an empty store has only this. */
const EMPTY = [
  'blobs',
  'blobs/sha256',
  'chains',
  'ingest',
  'layers',
  'lock',
  'lock/collector',
  'lock/gate',
  'lock/store',
  'meta',
  'mounts',
  'objects',
  'snapshots',
  'trash',
  'version',
];
const images = (): string[] => storeListing(root).filter((path) => !EMPTY.includes(path) && path !== 'fsck');

/** Changes the reference count of an object behind the store's back. */
async function setCount(hex: string, count: number): Promise<void> {
  await store.close();
  const meta = new Meta(join(root, 'meta/records'));
  meta.transaction((writer) => writer.setObjects([{ hex, layers: count, size: 5 }]));
  meta.close();
  store = await openStore({ root });
}

const hexOf = async (ref: string, path: string): Promise<string> => {
  const { tree } = await store.tree(ref);
  return tree.objectDigest(tree.direntInode(tree.lookup(1, path))) ?? '';
};

describe('counts that are wrong', () => {
  test('one that is too low takes nothing away that an image needs', async () => {
    await store.import(tarFile({ a: 'both\n', b: 'only\n' }), { name: 'one' });
    await store.import(tarFile({ a: 'both\n', c: 'other\n' }), { name: 'two' });
    const hex = await hexOf('one', 'a');
    await setCount(hex, 1);
    expect((await store.gc({ dryRun: true })).disagreements).toEqual([{ object: hex, counted: 1, listed: 2 }]);
    const { disagreements, disagreeing, objects } = await store.gc();
    expect({ disagreements, disagreeing, objects }).toEqual({
      disagreements: [{ object: hex, counted: 1, listed: 2 }],
      disagreeing: 1,
      objects: 0,
    });
    await store.removeImage('one');
    expect(await content('two', '/a')).toBe('both\n');
    await store.export('two', fresh());
    // The removal has set it right.
    expect((await store.gc()).disagreeing).toBe(0);
    await store.removeImage('two');
    expect(images()).toEqual([]);
  });

  test('none at all neither', async () => {
    await store.import(tarFile({ a: 'both\n' }), { name: 'one' });
    await store.import(tarFile({ a: 'both\n', c: 'other\n' }), { name: 'two' });
    const hex = await hexOf('one', 'a');
    await setCount(hex, 0);
    expect(await store.gc()).toMatchObject({ disagreements: [{ object: hex, counted: 0, listed: 2 }], objects: 0 });
    expect(await store.gc()).toMatchObject({ freed: { strays: { count: 0 } } });
    await store.removeImage('two');
    expect(await content('one', '/a')).toBe('both\n');
  });

  test('one that is too high keeps its object, and is told', async () => {
    await store.import(tarFile({ a: 'alone\n' }), { name: 'one' });
    const hex = await hexOf('one', 'a');
    await setCount(hex, 7);
    await store.removeImage('one');
    expect(existsSync(store.paths.object(hex))).toBe(true);
    expect((await store.gc()).disagreements).toEqual([{ object: hex, counted: 6, listed: 0 }]);
  });

  test('objects that nobody knows go', async () => {
    await store.import(tarFile({ a: 'mine\n' }), { name: 'one' });
    const stray = store.paths.object('ab'.repeat(32));
    mkdirSync(join(stray, '..'), { recursive: true });
    writeFileSync(stray, 'of nobody\n');
    expect(await store.gc({ dryRun: true })).toMatchObject({ freed: { strays: { count: 1 } }, dryRun: true });
    expect(existsSync(stray)).toBe(true);
    expect(await store.gc()).toMatchObject({ freed: { strays: { count: 1 } }, objects: 0, disagreeing: 0 });
    expect(existsSync(stray)).toBe(false);
    expect(await content('one', '/a')).toBe('mine\n');
  });
});

test('a dry run says what then goes, and changes nothing', async () => {
  await store.import(manyFiles(50), { name: 'app' });
  await store.import(
    layoutOf(fresh(), { latest: imageOf([tarOf({ path: 'x', data: 'x' }), tarOf({ path: 'y', data: 'y' })]) }),
    {
      name: 'app',
    },
  );
  await store.import(tarFile({ a: 'many 1\n' }), { name: 'kept' });
  await store.leases.create({ images: ['kept'], expires: 1 });
  await sleep(5);
  const before = storeListing(root);
  const foreseen = await store.gc({ dryRun: true });
  expect(storeListing(root)).toEqual(before);
  expect(foreseen).toMatchObject({ layers: 1, objects: 49, images: [expect.any(String)], leases: 1 });
  const sizeButRecords = async (): Promise<number> => {
    const { total, parts } = (await store.usage()).disk;
    return total - parts.meta.bytes;
  };
  const size = await sizeButRecords();
  const done = await store.gc();
  expect({ ...done, dryRun: true }).toEqual(foreseen);
  // Folders of objects that became empty went too.
  const shrunk = size - (await sizeButRecords());
  expect(shrunk).toBeGreaterThanOrEqual(done.freedBytes);
  expect((shrunk - done.freedBytes) % 4096).toBe(0);
});

test('everything that stays has a reason', async () => {
  await store.import(tarFile({ a: 'a\n' }), { name: 'named' });
  await store.import(tarFile({ b: 'b\n' }), { name: 'leased' });
  await store.import(tarFile({ c: 'c\n' }), { name: 'base' });
  const lease = await store.leases.create({ images: ['leased'], expires: 60_000, label: 'a test' });
  await store.createSnapshot('base', { name: 'work' });
  await store.removeImage('leased', { force: true });
  await store.removeImage('base', { force: true });
  const { kept } = await store.gc();
  for (const { kind, because } of kept) if (kind !== 'snapshot') expect(because).not.toEqual([]);
  const reasons = (kind: string): unknown[] =>
    kept.filter((each) => each.kind === kind).flatMap(({ because }) => because);
  expect(
    reasons('layer')
      .map((reason) => (reason as { by: string }).by)
      .toSorted(),
  ).toEqual(['image', 'lease', 'snapshot']);
  expect(reasons('layer')).toContainEqual({ by: 'lease', lease: lease.id, label: 'a test', expires: lease.expires });
});

describe('leases', () => {
  test('what is leased stays until the lease ends', async () => {
    await store.import(tarFile({ a: 'a\n' }), { name: 'app' });
    const { digest } = store.image('app');
    const lease = await store.leases.create({ images: ['app'], expires: 60_000 });
    expect(store.leases.list()).toEqual([lease]);
    await expect(store.removeImage('app')).rejects.toMatchObject({ code: 'failed-precondition' });
    expect((await store.prune({ unusedFor: 0 })).inUse).toEqual([digest]);
    expect(await store.removeImage('app', { force: true })).toMatchObject({ leases: [lease.id], freedObjects: 0 });
    await store.gc();
    expect(images()).not.toEqual([]);
    // Another process sees it, too.
    const other = await openStore({ root });
    const renewed = await other.leases.renew(lease.id, { expires: new Date(Date.now() + 3600_000) });
    expect(Date.parse(renewed.expires)).toBeGreaterThan(Date.parse(lease.expires));
    await other.leases.release(lease.id);
    await other.close();
    expect(await store.gc()).toMatchObject({ layers: 1, objects: 1 });
    expect(images()).toEqual([]);
  });

  test('layers and snapshots can be leased', async () => {
    await store.import(tarFile({ a: 'a\n' }), { name: 'app' });
    const [{ diffID }] = store.image('app').layers;
    await store.createSnapshot('app', { name: 'work' });
    const lease = await store.leases.create({ layers: [diffID], snapshots: ['work'], expires: 60_000 });
    await expect(store.removeSnapshot('work')).rejects.toMatchObject({ code: 'failed-precondition' });
    await store.leases.release(lease.id);
    await store.leases.create({ layers: [diffID], expires: 60_000 });
    await store.removeSnapshot('work');
    await store.removeImage('app');
    expect(existsSync(store.paths.layerTree(diffID))).toBe(true);
  });

  test('one that has expired is gone', async () => {
    await store.import(tarFile({ a: 'a\n' }), { name: 'app' });
    const { id } = await store.leases.create({ images: ['app'], expires: 1 });
    await sleep(5);
    expect(store.leases.list()).toEqual([]);
    await expect(store.leases.renew(id, { expires: 1000 })).rejects.toMatchObject({ code: 'not-found' });
    await store.removeImage('app');
    expect(images()).toEqual([]);
  });

  test('what makes no sense is refused', async () => {
    await store.import(tarFile({ a: 'a\n' }), { name: 'app' });
    const wrong = { code: 'invalid-argument' };
    await expect(store.leases.create({ expires: 1000 })).rejects.toMatchObject(wrong);
    for (const expires of [0, -1, Number.NaN, 1e15, new Date(0), new Date('x')]) {
      await expect(store.leases.create({ images: ['app'], expires })).rejects.toMatchObject(wrong);
    }
    await expect(store.leases.create({ images: ['no'], expires: 1000 })).rejects.toMatchObject({ code: 'not-found' });
    for (const id of ['x', '../..', '0'.repeat(16)]) {
      await expect(store.leases.release(id)).rejects.toMatchObject({ code: 'not-found' });
    }
    expect(store.leases.list()).toEqual([]);
  });
});

describe('beside work under way', () => {
  test('gc does not wait for an import, and takes nothing from it', async () => {
    await store.import(tarFile({ a: 'found\n', b: 'gone\n' }), { name: 'app' });
    const found = store.paths.object(createHash('sha256').update('found\n').digest('hex'));
    const program = `
      const { openStore } = await import(${JSON.stringify(DIST)});
      const store = await openStore({ root: ${JSON.stringify(root)} });
      await store.removeImage('app');
      const { disagreeing, objects } = await store.gc();
      await store.close();
      console.log(JSON.stringify({ disagreeing, objects }));`;
    let said = '';
    // Enough of it that its first file has been dealt with, while there is more to come.
    await store.import(tarFile({ a: 'found\n', large: 'x'.repeat(16 << 20) }), {
      name: 'new',
      onProgress: (event) => {
        if (event.kind !== 'layer' || event.done < 8 << 20 || said !== '') return;
        said = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
        expect(existsSync(found)).toBe(false);
      },
    });
    expect(JSON.parse(said)).toEqual({ disagreeing: 0, objects: 0 });
    expect(await content('new', '/a')).toBe('found\n');
    expect(await store.gc()).toMatchObject({ disagreeing: 0, freedBytes: 0 });
    expect(readdirSync(join(root, 'trash'))).toEqual([]);
    expect(readdirSync(join(root, 'ingest'))).toEqual([]);
    await store.export('new', fresh());
  });

  test('an image that is being exported stays', async () => {
    await store.import(manyFiles(2000), { name: 'app' });
    const out = new PassThrough({ highWaterMark: 1024 });
    const done = store.export('app', out);
    await once(out, 'readable');
    await expect(store.removeImage('app')).rejects.toMatchObject({
      code: 'failed-precondition',
      message: expect.stringMatching(/export app, process \d+/) as string,
    });
    await store.removeImage('app', { force: true });
    expect(await store.gc()).toMatchObject({ layers: 0 });
    out.resume();
    await done;
    expect(await store.gc()).toMatchObject({ layers: 1 });
    expect(images()).toEqual([]);
  });

  test('a mounted image stays', async () => {
    await store.import(tarFile({ a: 'a\n' }), { name: 'app' });
    await store.import(tarFile({ b: 'b\n' }), { name: 'app' });
    const lost = store.images().find(({ name }) => name === undefined)?.digest ?? '';
    const { chainID, layers } = store.image(lost.slice(7));
    const entry = join(root, 'mounts/1.json');
    writeFileSync(
      entry,
      JSON.stringify({ mountpoint: '/mnt', image: lost, chainID, layers: layers.map(({ diffID }) => diffID) }),
    );
    const fd = openSync(entry, 'r');
    expect(tryFlock(fd, LOCK.EX)).toBe(true);
    expect(await store.gc()).toMatchObject({ images: [], layers: 0 });
    expect((await store.prune({ unusedFor: 0 })).images).toHaveLength(1);
    expect(store.images().map(({ digest }) => digest)).toEqual([lost]);
    closeSync(fd);
    rmSync(entry);
    await store.gc();
    expect(images()).toEqual([]);
  });
});

describe('a removal of many objects', () => {
  test('is done in pieces, between which others have the store', async () => {
    await store.import(manyFiles(6000), { name: 'big' });
    const small = tarFile({ a: 'a\n' });
    await store.import(small, { name: 'small' });
    const program = `
      import { readSync, writeSync } from 'node:fs';
      const { openStore } = await import(${JSON.stringify(DIST)});
      const store = await openStore({ root: ${JSON.stringify(root)} });
      const freed = [];
      const onProgress = ({ freedBytes }) => {
        freed.push(freedBytes);
        // After the first piece: waits for a byte.
        if (freedBytes > 0 && freedBytes === freed.find((bytes) => bytes > 0)) {
          writeSync(1, 'piece\\n');
          readSync(0, Buffer.alloc(1));
        }
      };
      const result = await store.removeImage('big', { onProgress });
      await store.close();
      console.log(JSON.stringify({ ...result, freed }));`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const closed = once(child, 'close');
    expect(await lines.next()).toEqual({ value: 'piece', done: false });
    expect(readdirSync(join(root, 'trash'))).not.toEqual([]);
    await store.import(small, { name: 'again' });
    expect(readdirSync(join(root, 'trash'))).not.toEqual([]);
    child.stdin.end('\n');
    const out = String((await lines.next()).value);
    await closed;
    const { freed, freedObjects } = JSON.parse(out) as { freed: number[]; freedObjects: number };
    expect(freedObjects).toBe(6000);
    expect(freed).toEqual(freed.toSorted((x, y) => x - y));
    expect(new Set(freed).size).toBeGreaterThan(3);
    await store.gc();
    for (const { name } of store.images()) await store.removeImage(name!);
    expect(images()).toEqual([]);
  });

  test('is ended later when it is interrupted', async () => {
    await store.import(manyFiles(6000), { name: 'big' });
    await store.import(tarFile({ a: 'many 7\n', b: 'many 5999\n' }), { name: 'small' });
    const controller = new AbortController();
    const onProgress = ({ freedBytes }: GcProgress): void => {
      if (freedBytes > 100_000) controller.abort();
    };
    await expect(store.removeImage('big', { onProgress, signal: controller.signal })).rejects.toMatchObject({
      code: 'aborted',
    });
    expect(store.images().map(({ name }) => name)).toEqual(['small:latest']);
    // The same image may come back meanwhile.
    await store.import(manyFiles(6000), { name: 'again' });
    expect(await content('again', '/f1')).toBe('many 1\n');
    expect(await store.gc()).toMatchObject({ disagreeing: 0, problems: [] });
    expect(await content('again', '/f7')).toBe('many 7\n');
    await store.export('again', fresh());
    await store.removeImage('again');
    expect(await content('small', '/b')).toBe('many 5999\n');
    await store.removeImage('small');
    expect(images()).toEqual([]);
  });

  test.each([
    ['unlinkSync', 3],
    ['unlinkSync', 900],
    ['renameSync', 1],
    ['rmSync', 1],
  ] as const)('killed at %s %i: the next one ends it', async (call, count) => {
    await store.import(manyFiles(1500), { name: 'big' });
    await store.import(tarFile({ a: 'many 7\n', b: 'many 1499\n' }), { name: 'small' });
    const program = `
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      const { openStore } = await import(${JSON.stringify(DIST)});
      const store = await openStore({ root: ${JSON.stringify(root)} });
      const real = fs.${call};
      let left = ${count};
      fs.${call} = (...args) => { if (--left === 0) process.kill(process.pid, 'SIGKILL'); return real(...args); };
      syncBuiltinESMExports();
      await store.removeImage('big');
      process.exit(7);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' });
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    await store.close();
    store = await openStore({ root });
    expect(await store.gc()).toMatchObject({ disagreeing: 0, problems: [], freed: { strays: { count: 0 } } });
    expect(readdirSync(join(root, 'trash'))).toEqual([]);
    expect(await content('small', '/b')).toBe('many 1499\n');
    await store.removeImage('small');
    expect(images()).toEqual([]);
  });
});

describe('prune', () => {
  /** Sets back when images were used last. */
  async function age(days: Readonly<Record<string, number>>): Promise<void> {
    const digests = Object.entries(days).map(([name, age]) => [store.image(name).digest, age] as const);
    await store.close();
    const meta = new Meta(join(root, 'meta/records'));
    meta.transaction((writer) => {
      for (const [digest, each] of digests) writer.setUsed(digest, Date.now() - each * DAY);
    });
    meta.close();
    store = await openStore({ root });
  }
  const DAY = 24 * 3600 * 1000;
  const names = (): (string | undefined)[] => store.images().map(({ name }) => name?.replace(':latest', ''));

  beforeEach(async () => {
    for (const name of ['a', 'b', 'c', 'd']) {
      await store.import(tarFile({ [name]: name.repeat(20_000), shared: 'shared\n'.repeat(5000) }), { name });
    }
    await age({ a: 40, b: 30, c: 20, d: 10 });
  });

  test('images that were not used for long go', async () => {
    const options = { unusedFor: 25 * DAY };
    const foreseen = await store.prune({ ...options, dryRun: true });
    expect(foreseen.images.map((image) => image.names)).toEqual([['a:latest'], ['b:latest']]);
    expect(names()).toEqual(['a', 'b', 'c', 'd']);
    expect(await store.prune(options)).toEqual({ ...foreseen, dryRun: false });
    expect(names()).toEqual(['c', 'd']);
    expect(await content('c', '/c')).toBe('c'.repeat(20_000));
  });

  test('use is what keeps an image', async () => {
    await store.export('a', fresh());
    await content('b', '/b');
    await store.createSnapshot('c', { name: 'work' });
    expect((await store.prune({ unusedFor: 5 * DAY })).images.map((image) => image.names)).toEqual([['d:latest']]);
    expect(names()).toEqual(['a', 'b', 'c']);
    await age({ a: 40, b: 40, c: 40 });
    const { inUse, images } = await store.prune({ unusedFor: 5 * DAY });
    // A snapshot was seen: c counts as used now.
    expect({ inUse, images: images.length, names: names() }).toEqual({ inUse: [], images: 2, names: ['c'] });
    await store.removeSnapshot('work');
    expect((await store.prune({ unusedFor: 5 * DAY })).images).toEqual([]);
  });

  test('the store is kept under a size, those not used for longest first', async () => {
    const { total, parts } = (await store.usage()).disk;
    const foreseen = await store.prune({ keepUnder: total - 30_000, dryRun: true });
    expect(foreseen.images.map((image) => image.names)).toEqual([['a:latest']]);
    const done = await store.prune({ keepUnder: total - 30_000 });
    expect(done).toEqual({ ...foreseen, dryRun: false });
    // The log of the records grows by what is done, until the last one closes them.
    const left = (await store.usage()).disk;
    const now = left.total - (left.parts.meta.bytes - parts.meta.bytes);
    expect(now).toBeLessThanOrEqual(total - 30_000);
    // Folders that became empty went, too.
    expect(now).toBeLessThanOrEqual(done.size ?? 0);
    expect((await store.prune({ keepUnder: left.total })).images).toEqual([]);
    expect((await store.prune({ keepUnder: 1 })).images).toHaveLength(3);
    expect(images()).toEqual([]);
  });

  test('blobs go when asked for, and nothing goes unasked', async () => {
    const layout = layoutOf(fresh(), { latest: imageOf([tarOf({ path: 'x', data: 'x'.repeat(9000) })]) });
    await store.import(layout, { name: 'packed' });
    expect(await store.prune({ blobs: true, dryRun: true })).toMatchObject({ blobs: 1, images: [] });
    expect(await store.prune({ blobs: true })).toMatchObject({ blobs: 1, images: [] });
    expect(await store.prune({ blobs: true })).toMatchObject({ blobs: 0, bytes: 0 });
    expect(await store.export('packed', fresh())).toMatchObject({ rebuilt: true });
    await expect(store.prune({})).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});

test('du: what the store says is what du says', async () => {
  await store.import(manyFiles(300), { name: 'app' });
  await store.import(tarFile({ a: 'many 7\n', holes: '\0'.repeat(1 << 20) }), { name: 'other' });
  const { upper } = await store.createSnapshot('app', { name: 'work' });
  writeFileSync(join(upper, 'file'), 'x'.repeat(10_000));
  const { disk, images: each, savedByDedup, snapshots } = await store.usage();
  const du = Number(execFileSync('du', ['-s', '--block-size=1', root], { encoding: 'utf8' }).split('\t')[0]);
  expect(disk.total).toBe(du);
  for (const part of ['objects', 'blobs', 'layers', 'snapshots', 'meta', 'trash'] as const) {
    const own = Number(
      execFileSync('du', ['-s', '--block-size=1', join(root, part)], { encoding: 'utf8' }).split('\t')[0],
    );
    expect({ part, bytes: disk.parts[part].bytes }).toEqual({ part, bytes: own });
  }
  expect(Object.values(disk.parts).reduce((sum, { bytes }) => sum + bytes, 0)).toBe(disk.total);
  expect(savedByDedup).toBe('many 7\n'.length);
  expect(snapshots[0].bytes).toBeGreaterThanOrEqual(12_288);
  for (const { disk: own, total, shared } of each) {
    expect(own.total).toBe(own.shared + own.unique);
    expect([own.total > total || total > 1 << 20, shared]).toEqual([true, 'many 7\n'.length]);
  }
  // What an image has alone is what its removal frees.
  const [{ disk: alone }] = each.filter(({ name }) => name === 'other:latest');
  await store.removeImage('other');
  const now = (await store.usage()).disk;
  // Folders take nothing in memory.
  const [some] = readdirSync(join(root, 'objects'));
  const folderBytes = statSync(join(root, 'objects', some)).blocks * 512;
  const emptied = (disk.parts.objects.entries - now.parts.objects.entries - 1) * folderBytes;
  const grown = now.parts.meta.bytes - disk.parts.meta.bytes;
  expect(disk.total - now.total - emptied + grown).toBe(alone.unique);
});

describe('a disk without any room', () => {
  test.skipIf(noMounts !== undefined)('is freed by removing what fills it', async () => {
    const disk = fresh();
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk]);
    try {
      const full = join(disk, 'store');
      const fill = (): void => {
        // Until nothing fits in any more.
        expect(() => writeFileSync(join(disk, 'ballast'), Buffer.alloc(24 << 20))).toThrow(/ENOSPC/);
        expect(statfsSync(disk).bavail).toBe(0);
      };
      let store = await openStore({ root: full });
      for (const name of ['a', 'b', 'c']) {
        const many = Array.from({ length: 300 }, (_, i) => [`${i}`, `${name} ${i}`] as const);
        await store.import(tarFile({ ...Object.fromEntries(many), large: name.repeat(2 << 20) }), { name });
      }
      await store.createSnapshot('c', { name: 'work' });
      fill();
      await store.removeImage('a');
      expect(statfsSync(disk).bavail * 4096).toBeGreaterThan(2 << 20);
      await store.close();
      fill();
      // A program that comes later has nothing open.
      store = await openStore({ root: full });
      expect(store.images().map(({ name }) => name)).toEqual(['b:latest', 'c:latest']);
      fill();
      await expect(store.import(tarFile({ d: 'd'.repeat(1 << 20) }), { name: 'd' })).rejects.toMatchObject({
        code: 'resource-exhausted',
      });
      await store.removeSnapshot('work');
      await store.prune({ unusedFor: 0 });
      expect(store.images()).toEqual([]);
      expect(statfsSync(disk).bavail * 4096).toBeGreaterThan(4 << 20);
      await store.close();
      expect((await checkStore(full)).problems).toEqual([]);
    } finally {
      // Also when the store is still open, because something failed.
      execFileSync('umount', ['-l', disk]);
    }
  });
});

describe('cancelling', () => {
  const aborted = { code: 'aborted' };
  test('leaves nothing behind, before it begins and in the middle', async () => {
    await store.import(manyFiles(3000), { name: 'app' });
    await store.createSnapshot('app', { name: 'work' });
    const before = storeListing(root);
    const signal = AbortSignal.abort();
    await expect(store.gc({ signal })).rejects.toMatchObject(aborted);
    await expect(store.usage({ signal })).rejects.toMatchObject(aborted);
    await expect(store.prune({ unusedFor: 0, signal })).rejects.toMatchObject(aborted);
    await expect(store.removeImage('app', { signal, force: true })).rejects.toMatchObject(aborted);
    await expect(store.removeSnapshot('work', { signal })).rejects.toMatchObject(aborted);
    await expect(store.leases.create({ images: ['app'], expires: 1000, signal })).rejects.toMatchObject(aborted);
    await expect(store.createSnapshot('app', { signal })).rejects.toMatchObject(aborted);
    await expect(store.diff('work', undefined, { signal })).rejects.toMatchObject(aborted);
    await expect(store.commit('work', 'new', { signal })).rejects.toMatchObject(aborted);
    await expect(store.export('app', fresh(), { signal })).rejects.toMatchObject(aborted);
    await expect(store.import(manyFiles(10), { signal })).rejects.toMatchObject(aborted);
    await expect(store.dropBlobs(undefined, { signal })).rejects.toMatchObject(aborted);
    for (const kind of ['checkout', 'export'] as const) {
      const controller = new AbortController();
      const folder = fresh();
      const options = { signal: controller.signal, onProgress: () => controller.abort() };
      await expect(store[kind]('app', folder, options)).rejects.toMatchObject(aborted);
      expect({ kind, left: existsSync(folder) }).toEqual({ kind, left: false });
    }
    const controller = new AbortController();
    const large = manyFiles(9000, 'else');
    const onProgress = (): void => controller.abort();
    await expect(store.import(large, { signal: controller.signal, onProgress })).rejects.toMatchObject(aborted);
    expect(storeListing(root)).toEqual(before);
    expect(readFileSync(join(root, 'version'), 'utf8')).toBe('3\n');
  });
});
