import { once } from 'node:events';
import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { describe, expect, test, vi } from 'vitest';
import { AT_FDCWD, utimensat } from '@layerfs/linux';
import { dumpTree } from '../../core/tree/text.js';
import { tryLockFile, type FileLock } from '../locks.js';
import type { ImportProgress } from '../import/progress.js';
import { BASE, TOP, two, digestOf, imageOf, layoutOf, tarOf, type SmallImage } from '../small-images.test-support.js';
import { storeForEachTest } from '../test-store.test-support.js';

const here = storeForEachTest();

/** An OCI layout as the files of a tar. */
const archiveOf = (image: SmallImage): Buffer =>
  tarOf(
    { path: 'blobs/' },
    ...[...image.blobs].map(([digest, data]) => ({ path: `blobs/${digest.replace(':', '/')}`, data })),
    { path: 'index.json', data: JSON.stringify({ schemaVersion: 2, manifests: [image.manifest] }) },
    { path: 'oci-layout', data: '{"imageLayoutVersion":"1.0.0"}' },
  );
const dockerOf = (image: SmallImage, tags: string[] | null = ['test/app:1']): Buffer =>
  tarOf(
    { path: 'a/layer.tar', data: BASE },
    { path: 'b/VERSION', data: '1.0' },
    { path: 'real.tar', data: TOP },
    { path: 'b/layer.tar', type: '2', linkname: '../real.tar' },
    { path: `${digestOf(image.config).slice(7)}.json`, data: image.config },
    {
      path: 'manifest.json',
      data: JSON.stringify([
        { Config: `${digestOf(image.config).slice(7)}.json`, RepoTags: tags, Layers: ['a/layer.tar', 'b/layer.tar'] },
      ]),
    },
  );

describe('every kind of source gives the same tree', () => {
  const sources: [what: string, make: (image: SmallImage) => string][] = [
    ['an OCI layout', (image) => layoutOf(here.fresh(), { latest: image })],
    ['an OCI layout of plain layers', () => layoutOf(here.fresh(), { latest: imageOf([BASE, TOP], { plain: true }) })],
    ['an OCI archive', (image) => here.file(archiveOf(image))],
    ['a gzipped OCI archive', (image) => here.file(gzipSync(archiveOf(image)), 'image.tar.gz')],
    ['a docker archive', (image) => here.file(dockerOf(image))],
    ['a gzipped docker archive', (image) => here.file(gzipSync(dockerOf(image)), 'x.tgz')],
  ];
  test.each(sources)('%s', async (_, make) => {
    const result = await here.store.import(make(two()), { name: 'app' });
    expect(result.images.map(({ name }) => name)).toEqual(['app:latest']);
    expect(await here.contentOf('app', '/link')).toBe('bye\n');
    expect(await here.contentOf('app', 'also')).toBe('the same\n');
    await expect(here.contentOf('app', '/gone')).rejects.toMatchObject({ code: 'not-found' });
    expect(here.store.image('app').layers.map(({ diffID }) => diffID)).toEqual([digestOf(BASE), digestOf(TOP)]);
    // Equal content of two layers is one object.
    expect(
      readdirSync(join(here.root, 'objects'), { recursive: true }).filter((name) => String(name).length > 2),
    ).toHaveLength(4);
    expect(readdirSync(join(here.root, 'ingest'))).toEqual([]);
  });

  test('tars of a root filesystem, as file and as stream, and a folder', async () => {
    await here.store.import(here.file(BASE, 'plain.tar'));
    await here.store.import(here.file(gzipSync(BASE), 'packed.tar.gz'));
    await here.store.import(Readable.from([BASE.subarray(0, 700), BASE.subarray(700)]), { name: 'stream' });
    await here.store.import(Readable.from([gzipSync(BASE)]), { name: 'gzip-stream' });
    await here.store.import(Readable.from([dockerOf(two())]));
    const names = here.store.images().map(({ name }) => name);
    expect(names).toEqual(['gzip-stream:latest', 'packed:latest', 'plain:latest', 'stream:latest', 'test/app:1']);
    const folder = here.fresh();
    await here.store.checkout('plain', folder);
    await here.store.import(folder, { name: 'folder' });
    const dumps = await Promise.all(
      ['plain', 'folder'].map(async (ref) => dumpTree((await here.store.tree(ref)).tree)),
    );
    // Only here.root can give files to others.
    if (process.getuid?.() === 0) expect(dumps[1]).toBe(dumps[0]);
    expect(await here.contentOf('folder', 'same')).toBe('the same\n');
    const again = await here.store.import(folder, { name: 'folder-again' });
    expect(again.images[0].digest).toBe(here.store.image('folder').digest);
    await expect(here.store.import(Readable.from([BASE]))).rejects.toThrow(/--name/);
  });
});

test('several images: all, one by tag, or a choice to make', async () => {
  const layout = layoutOf(here.fresh(), { one: two(), two: imageOf([BASE]) });
  await expect(here.store.import(layout, { name: 'x' })).rejects.toThrow(/one, two/);
  await expect(here.store.import(`${layout}:three`)).rejects.toMatchObject({ code: 'not-found' });
  await here.store.import(`${layout}:two`, { name: 'x' });
  expect(here.store.image('x').layers).toHaveLength(1);
  const { images } = await here.store.import(layout);
  expect(images.map(({ name }) => name?.split(':')[1])).toEqual(['one', 'two']);
});

test('platforms: the right one, or what there is', async () => {
  const arm = imageOf([TOP], { config: { architecture: 's390x' } });
  const folder = layoutOf(here.fresh(), { latest: two(), arm });
  const own = process.arch === 'x64' ? 'amd64' : process.arch;
  const manifests = [
    { ...two().manifest, platform: { os: 'linux', architecture: own } },
    { ...arm.manifest, platform: { os: 'linux', architecture: 's390x' } },
    { ...arm.manifest, platform: { os: 'unknown', architecture: 'unknown' } },
  ];
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  await here.store.import(folder, { name: 'own' });
  expect(here.store.image('own').layers).toHaveLength(2);
  await here.store.import(folder, { name: 'other', platform: 'linux/s390x' });
  expect(here.store.image('other').layers).toHaveLength(1);
  await expect(here.store.import(folder, { name: 'none', platform: 'linux/mips64' })).rejects.toThrow(/s390x/);
});

test('layers that are there are not read again', async () => {
  const layout = layoutOf(here.fresh(), { latest: two() });
  await here.store.import(layout, { name: 'first' });
  const events: ImportProgress[] = [];
  const again = await here.store.import(layout, { name: 'second', onProgress: (event) => events.push(event) });
  expect(events.filter((event) => event.kind === 'layer').map((event) => event.state)).toEqual(['exists', 'exists']);
  expect(again).toMatchObject({ newObjects: 0, images: [{ layers: [{ reused: true }, { reused: true }] }] });
  // Another blob of the same content is verified, and kept as well.
  const other = await here.store.import(layoutOf(here.fresh(), { latest: imageOf([BASE, TOP], { plain: true }) }), {
    name: 'third',
  });
  expect(other.images[0].layers.every(({ reused }) => reused)).toBe(true);
  expect(here.store.image('third').chainID).toBe(here.store.image('first').chainID);
});

test('a merged tree that goes while another image is imported that has it is made anew', async () => {
  const { images } = await here.store.import(here.file(BASE), { name: 'first' });
  const { paths } = here.store;
  const folder = paths.chainFolder(images[0].chainID);
  let lock: FileLock | undefined;
  const importing = here.store.import(Readable.from([gzipSync(BASE)]), {
    name: 'second',
    onProgress: (event) => {
      if (event.kind === 'layer' && event.state === 'done') lock = tryLockFile(paths.lock, 'exclusive');
    },
  });
  // All is read and merged, and it waits for the store's lock to publish: the gate is held by who waits for that.
  await vi.waitFor(() => {
    expect(lock).toBeDefined();
    const gate = tryLockFile(paths.gate, 'exclusive');
    gate?.release();
    expect(gate).toBeUndefined();
  });
  rmSync(folder, { recursive: true });
  lock?.release();
  expect((await importing).images[0].chainID).toBe(images[0].chainID);
  expect(readdirSync(folder)).toEqual(['tree']);
});

test('a folder: links, holes, long names, xattrs; what no layer can hold is left out with a note', async () => {
  const folder = here.fresh();
  const long = 'n'.repeat(200);
  mkdirSync(join(folder, long, long), { recursive: true });
  writeFileSync(join(folder, long, long, 'deep'), 'deep');
  writeFileSync(join(folder, 'one'), 'linked');
  linkSync(join(folder, 'one'), join(folder, 'two'));
  symlinkSync('x'.repeat(300), join(folder, 'link'));
  writeFileSync(join(folder, 'holes'), '');
  truncateSync(join(folder, 'holes'), 5 << 20);
  const holes = openSync(join(folder, 'holes'), 'r+');
  writeSync(holes, 'middle', 3 << 20);
  closeSync(holes);
  utimensat(AT_FDCWD, join(folder, 'one'), { sec: 1, nsec: 0 }, { sec: -2, nsec: 750_000_000 });
  mkdirSync(join(folder, '.wh.folder'));
  writeFileSync(join(folder, '.wh.folder/inside'), '');
  const server = createServer().listen(join(folder, 'socket'));
  await once(server, 'listening');
  let notes: readonly string[];
  try {
    ({ notes } = await here.store.import(folder, { name: 'folder' }));
  } finally {
    server.close();
  }
  expect(notes).toEqual([expect.stringContaining('.wh.folder'), expect.stringContaining('socket')]);
  const { tree } = await here.store.tree('folder');
  const ino = (path: string): number => tree.resolve(path);
  expect(ino('one')).toBe(ino('two'));
  expect([tree.mtimeSec(ino('one')), tree.mtimeNsec(ino('one'))]).toEqual([-2, 750_000_000]);
  expect(tree.symlinkTarget(ino('link'))).toHaveLength(300);
  expect(tree.resolve('socket')).toBe(0);
  expect(tree.resolve('.wh.folder/inside')).toBe(0);
  expect(await here.contentOf('folder', `${long}/${long}/deep`)).toBe('deep');
  expect(tree.size(ino('holes'))).toBe(5 << 20);
  expect((await here.contentOf('folder', 'holes')).slice(3 << 20, (3 << 20) + 6)).toBe('middle');
  const { size } = here.store.image('folder').layers[0];
  expect(size).toBeLessThan(1 << 20);
});
