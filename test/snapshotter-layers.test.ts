/** Layers of the store under the snapshotter: what containers see of them, and what becomes of what was unpacked. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MNT, umount2 } from '@layerfs/linux';
import { openSnapshotter, type Snapshotter, type SnapshotterOptions } from '../packages/snapshotter/dist/index.js';
import { listMounts, openStore, type ChainID, type Store } from '../packages/layerfs/dist/index.js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { chainOf } from '../packages/layerfs/dist/store/trees.js';
import { compareFolders, report, type Excuse } from './compare/compare.js';
import { oddLower } from './images/odd-lower.js';
import { oddUpper } from './images/odd-upper.js';
import { tarOf } from './images/tar.js';
import { imageOf, layoutOf } from '../packages/layerfs/dist/store/small-images.test-support.js';
import { missing } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';
import { SnapshotMounts } from './support/snapshot-mounts.js';

const MINUTES = 60_000;
const REF = 'containerd.io/snapshot.ref';
const NEW_ROOT: Excuse = {
  reason: 'the root is that of the new upper folder',
  matches: ({ path, field }) => path === '' && field === 'mtime',
};
const MODES = ['kernel', 'fuse', 'folder'] as const;
const FOLDERS = { kernel: 'erofs', fuse: 'fuse', folder: 'checkout' } as const;

const reason = missing('root', 'getfattr', 'setfattr');
if (reason !== undefined) console.warn(`skipped: layers under the snapshotter: ${reason}`);

let work: string;
let root: string;
let store: Store;
let snapshotter: Snapshotter;
let problems: unknown[];
let mounted: SnapshotMounts;

beforeEach(async () => {
  if (reason !== undefined) return;
  problems = [];
  // overlayfs wants trusted.* attributes of upper.
  work = scratchFolder('layerfs-layers-', true);
  root = join(work, 'store/snapshotter');
  mounted = new SnapshotMounts(work, root);
  store = await openStore({ root: join(work, 'store') });
});
afterEach(async () => {
  if (reason !== undefined) return;
  mounted.release();
  await snapshotter.close();
  await store.close();
  unmountBases();
  rmSync(work, { recursive: true, force: true });
});

function open(options: Pick<SnapshotterOptions, 'mountMode' | 'seal'>): void {
  snapshotter = openSnapshotter({ root, store, seal: 'never', onProblem: (error) => problems.push(error), ...options });
}

function unmountBases(): void {
  for (const kind of ['erofs', 'fuse'] as const) {
    for (const folder of bases(kind)) umount2(join(root, kind, folder), MNT.DETACH);
  }
}

function bases(kind: (typeof FOLDERS)[keyof typeof FOLDERS]): string[] {
  return existsSync(join(root, kind)) ? readdirSync(join(root, kind)) : [];
}

/** Unpacks a layer as containerd does, and commits it. */
function unpacked(name: string, parent: string | undefined, fill: (folder: string) => void): Promise<void> {
  return mounted.unpack(snapshotter, name, parent, fill);
}

async function offered(diffIDs: readonly string[]): Promise<ChainID[]> {
  const chains = diffIDs.map((_, i) => chainOf(diffIDs.slice(0, i + 1) as never));
  for (const [i, chain] of chains.entries()) {
    const labels = { [REF]: chain, 'containerd.io/snapshot.more': 'kept' };
    const work = snapshotter.prepare(`extract-${i} ${chain}`, i === 0 ? undefined : chains[i - 1], { labels });
    await expect(work).rejects.toMatchObject({ code: 'already-exists' });
  }
  return chains;
}

describe.skipIf(reason !== undefined).each(MODES)('layers of the store, mount mode %s', (mountMode) => {
  test('an imported image is not unpacked again, and shows what is in it', { timeout: 2 * MINUTES }, async () => {
    const layout = layoutOf(join(work, 'layout'), { latest: imageOf([tarOf(...oddLower()), tarOf(...oddUpper())]) });
    await store.import(layout, { name: 'app' });
    const diffIDs = store.image('app').layers.map(({ diffID }) => diffID);
    open({ mountMode });
    const [base, top] = await offered(diffIDs);
    expect(await snapshotter.stat(top)).toMatchObject({
      kind: 'committed',
      parent: base,
      labels: { [REF]: top, 'containerd.io/snapshot.more': 'kept' },
    });
    expect((await snapshotter.usage(top)).inodes).toBeGreaterThan(10);
    // As if nothing had happened, a second time.
    await offered(diffIDs);
    expect(readdirSync(join(root, 'snapshots'))).toEqual([]);

    const mounts = await snapshotter.prepare('container', top);
    expect(mounts).toHaveLength(1);
    expect(bases(FOLDERS[mountMode])).toHaveLength(1);
    expect(mounts[0].options.join().includes('::')).toBe(mountMode === 'kernel');
    const folder = mounted.mount(mounts);
    await store.checkout('app', join(work, 'expected'));
    const { unexplained } = await compareFolders(join(work, 'expected'), folder, [NEW_ROOT]);
    expect(report(unexplained, ['checkout', 'snapshot'])).toBe('');
    writeFileSync(join(folder, 'new'), 'new');
    expect(await snapshotter.mounts('container')).toEqual(mounts);
    mounted.unmount(folder);

    // What the image was removed for is still there, and is found again by another service.
    await store.removeImage('app');
    await store.gc();
    await snapshotter.close();
    unmountBases();
    open({ mountMode });
    expect(await snapshotter.mounts('container')).toEqual(mounts);
    const again = mounted.mount(mounts);
    expect(readFileSync(join(again, 'new'), 'latin1')).toBe('new');
    expect(statSync(join(again, 'odd')).isDirectory()).toBe(true);
    mounted.unmount(again);
    const view = mounted.mount(await snapshotter.view('look', top));
    expect(() => writeFileSync(join(view, 'x'), '')).toThrow(/EROFS/);
    mounted.unmount(view);

    for (const key of ['look', 'container', top, base]) await snapshotter.remove(key);
    await snapshotter.close();
    for (const each of Object.values(FOLDERS)) expect(bases(each)).toEqual([]);
    // A server ends with the last that uses it.
    await expect.poll(() => listMounts(store.root), { timeout: MINUTES }).toEqual([]);
    expect(store.leases.list()).toEqual([]);
    await store.gc();
    expect(readdirSync(store.paths.layers)).toEqual([]);
    expect(problems).toEqual([]);
  });

  test('what was unpacked becomes layers; whoever was given folders keeps them', { timeout: 2 * MINUTES }, async () => {
    open({ mountMode, seal: 'commit' });
    const fill = (folder: string): void => {
      writeFileSync(join(folder, 'large'), Buffer.alloc(8 << 20, 'x'));
      mkdirSync(join(folder, 'sub'));
      writeFileSync(join(folder, 'sub/gone'), 'lower');
      writeFileSync(join(folder, 'sub/stays'), 'lower');
    };
    // While it is mounted it is left alone.
    const first = mounted.mount(await snapshotter.prepare('unpack one', undefined));
    fill(first);
    await snapshotter.commit('one', 'unpack one');
    const given = await snapshotter.prepare('early', 'one');
    expect(bases('erofs')).toEqual([]);
    mounted.unmount(first);
    await unpacked('two', 'one', (folder) => {
      rmSync(join(folder, 'sub/gone'));
      writeFileSync(join(folder, 'sub/new'), 'upper');
    });
    await unpacked('other', undefined, fill);
    // Equal files of two images are stored once, and folders go but the one that was given.
    expect(readdirSync(join(root, 'snapshots')).toSorted()).toEqual(['1', '2']);
    const [bytes] = execFileSync('du', ['-sB1', store.paths.objects], { encoding: 'latin1' }).split('\t');
    expect(Number(bytes)).toBeGreaterThan(8 << 20);
    expect(Number(bytes)).toBeLessThan(10 << 20);
    expect((await snapshotter.usage('one')).bytes).toBeGreaterThanOrEqual(8 << 20);

    const late = await snapshotter.prepare('late', 'two');
    expect(late).not.toEqual(given);
    const folder = mounted.mount(late);
    expect(readdirSync(join(folder, 'sub')).toSorted()).toEqual(['new', 'stays']);
    expect(readFileSync(join(folder, 'large')).equals(Buffer.alloc(8 << 20, 'x'))).toBe(true);
    rmSync(join(folder, 'sub/stays'));
    mounted.unmount(folder);
    // On top of layers of the store.
    await snapshotter.commit('three', 'late');
    const three = mounted.mount(await snapshotter.view('view', 'three'));
    expect(readdirSync(join(three, 'sub'))).toEqual(['new']);
    mounted.unmount(three);

    expect(await snapshotter.mounts('early')).toEqual(given);
    const early = mounted.mount(given);
    expect(readFileSync(join(early, 'sub/gone'), 'latin1')).toBe('lower');
    mounted.unmount(early);
    await snapshotter.remove('early');
    await snapshotter.cleanup();
    expect(readdirSync(join(root, 'snapshots')).map((id) => Number(id))).toHaveLength(1);
    for (const key of ['view', 'three', 'two', 'one', 'other']) await snapshotter.remove(key);
    await snapshotter.close();
    expect(store.leases.list()).toEqual([]);
    await store.gc();
    expect(readdirSync(store.paths.layers)).toEqual([]);
    expect(problems).toEqual([]);
  });
});

test.skipIf(reason !== undefined)('the program in the README', { timeout: 2 * MINUTES }, async () => {
  const layout = layoutOf(join(work, 'layout'), { latest: imageOf([tarOf(...oddLower()), tarOf(...oddUpper())]) });
  await store.import(layout, { name: 'app' });
  open({ mountMode: 'kernel' });
  await snapshotter.close();
  const readme = readFileSync(join(import.meta.dirname, '../packages/snapshotter/README.md'), 'utf8');
  const program = /```ts\n(.*?)```/s.exec(readme)?.[1] ?? '';
  const folder = join(work, 'mounted');
  mkdirSync(folder);
  const words = ['--input-type=module', '-e', program, '--', 'its name', join(work, 'store'), 'app', folder];
  // Where the packages that it imports are found.
  const cwd = join(import.meta.dirname, '../packages/cli');
  const said = execFileSync(process.execPath, words, { cwd, encoding: 'utf8' });
  const chains = store.image('app').layers.map((_, i, all) => chainOf(all.slice(0, i + 1).map(({ diffID }) => diffID)));
  expect(said.trim().split('\n').toSorted()).toEqual(
    ['my layer', ...chains].map((name) => `committed ${name}`).toSorted(),
  );
  expect(readdirSync(join(root, 'snapshots'))).toEqual([]);
});

test.skipIf(reason !== undefined)(
  'a FUSE server goes on without the service, and one that died is replaced',
  async () => {
    open({ mountMode: 'fuse', seal: 'commit' });
    await unpacked('one', undefined, (folder) => {
      for (const name of ['file', 'other']) writeFileSync(join(folder, name), 'content');
    });
    const mounts = await snapshotter.prepare('first', 'one');
    const first = mounted.mount(mounts);
    writeFileSync(join(first, 'own'), 'own');
    await snapshotter.close();
    expect(readFileSync(join(first, 'file'), 'latin1')).toBe('content');
    const [server] = listMounts(store.root);
    open({ mountMode: 'fuse' });
    expect(await snapshotter.mounts('first')).toEqual(mounts);
    expect(listMounts(store.root)).toEqual([server]);
    process.kill(server.pid, 'SIGKILL');
    await expect.poll(() => listMounts(store.root).map(({ state }) => state)).toEqual(['dead']);
    const second = mounted.mount(await snapshotter.prepare('second', 'one'));
    expect(readFileSync(join(second, 'file'), 'latin1')).toBe('content');
    // What the kernel knows goes on.
    expect(() => readFileSync(join(first, 'other'))).toThrow('ENOTCONN');
    // Mounted again, all is there.
    mounted.unmount(first);
    const again = mounted.mount(await snapshotter.mounts('first'));
    expect(readFileSync(join(again, 'file'), 'latin1')).toBe('content');
    expect(readFileSync(join(again, 'own'), 'latin1')).toBe('own');
  },
);

test.skipIf(reason !== undefined)('more folders than fit beside an EROFS image', { timeout: 2 * MINUTES }, async () => {
  open({ mountMode: 'kernel', seal: 'commit' });
  await unpacked('layer 0', undefined, (folder) => writeFileSync(join(folder, 'f0'), ''));
  await snapshotter.close();
  open({ mountMode: 'kernel' });
  const count = 60;
  for (let i = 1; i < count; i++) {
    const [{ options }] = await snapshotter.prepare(`key ${i}`, `layer ${i - 1}`);
    const upper = options.find((option) => option.startsWith('upperdir='))?.slice('upperdir='.length) ?? '';
    writeFileSync(join(upper, `f${i}`), '');
    await snapshotter.commit(`layer ${i}`, `key ${i}`);
  }
  const mounts = await snapshotter.prepare('container', `layer ${count - 1}`);
  // containerd shortens the paths of many lowers, but none with data-only layers.
  expect(mounts[0].options.join()).not.toContain('::');
  expect(bases('checkout')).toHaveLength(1);
  expect(readdirSync(mounted.mount(mounts))).toHaveLength(count);
  await snapshotter.close();
  expect(() => openSnapshotter({ root })).toThrow('holds layers of a store');
});

test.skipIf(reason !== undefined)('attributes of a file are changed without copying its content', async () => {
  open({ mountMode: 'kernel', seal: 'commit' });
  await unpacked('one', undefined, (folder) => writeFileSync(join(folder, 'large'), Buffer.alloc(8 << 20, 'x')));
  const mounts = await snapshotter.prepare('container', 'one');
  const folder = mounted.mount(mounts);
  execFileSync('chmod', ['600', join(folder, 'large')]);
  mounted.unmount(folder);
  expect((await snapshotter.usage('container')).bytes).toBeLessThan(1 << 20);
  await snapshotter.commit('two', 'container');
  const view = mounted.mount(await snapshotter.view('view', 'two'));
  expect(statSync(join(view, 'large')).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(view, 'large')).equals(Buffer.alloc(8 << 20, 'x'))).toBe(true);
});

test.skipIf(reason !== undefined)('a lease that sealing left behind goes after a failure', async () => {
  const { setXattr } = await import('@layerfs/linux');
  open({ seal: 'commit' });
  await unpacked('one', undefined, (folder) => mkdirSync(join(folder, 'kept')));
  // As a sealing process makes it, that is killed before its folder's record names it.
  const { layers } = store.leases.list()[0];
  await store.leases.create({ layers, expires: 'never', label: 'layerfs snapshotter: lost' });
  await store.leases.create({ layers, expires: 'never', label: 'of somebody else' });
  await unpacked('bad', undefined, (folder) => {
    mkdirSync(join(folder, 'x'));
    setXattr(join(folder, 'x'), 'trusted.overlay.redirect', Buffer.from('/../out'));
  });
  expect(problems.map(String).join()).toContain('redirect');
  const labels = store.leases.list().map(({ label }) => label);
  expect(labels.toSorted()).toEqual(['layerfs snapshotter: one', 'of somebody else']);
});

test.skipIf(reason !== undefined)('a folder that could not be removed after sealing is removed later', async () => {
  open({ mountMode: 'folder', seal: 'commit' });
  const [{ source }] = await snapshotter.prepare('key', undefined);
  writeFileSync(join(source, 'file'), 'content');
  rmSync(join(root, 'staging'), { recursive: true });
  writeFileSync(join(root, 'staging'), 'no folder');
  await snapshotter.commit('one', 'key');
  expect(problems.splice(0).map(String).join()).toContain('ENOTDIR');
  expect(readdirSync(join(root, 'snapshots'))).toEqual(['1']);
  rmSync(join(root, 'staging'));
  mkdirSync(join(root, 'staging'));
  await unpacked('two', undefined, (folder) => writeFileSync(join(folder, 'other'), 'content'));
  expect(readdirSync(join(root, 'snapshots'))).toEqual([]);
  expect(problems).toEqual([]);
});

test.skipIf(reason !== undefined)(
  'a service that is killed while it seals leaves nothing half done',
  { timeout: 5 * MINUTES },
  async () => {
    const rounds = Number(process.env['LAYERFS_SEAL_KILLS'] ?? 4);
    open({});
    await snapshotter.close();
    const script = `
      import { openStore } from ${JSON.stringify(new URL('../packages/layerfs/dist/index.js', import.meta.url).href)};
      import { openSnapshotter } from ${JSON.stringify(new URL('../packages/snapshotter/dist/index.js', import.meta.url).href)};
      const store = await openStore({ root: ${JSON.stringify(store.root)} });
      const snapshotter = openSnapshotter({ root: ${JSON.stringify(root)}, store, seal: 'commit', mountMode: 'folder' });
      const [, round] = process.argv;
      await snapshotter.prepare('key ' + round, undefined);
      process.stdout.write('ready');
      await snapshotter.commit('round ' + round, 'key ' + round);
      setInterval(() => undefined, 1000);`;
    for (let round = 0; round < rounds; round++) {
      open({});
      const [{ source }] = await snapshotter.prepare(`filled ${round}`, undefined);
      for (let i = 0; i < 50; i++) writeFileSync(join(source, `f${i}`), `${round} ${i}`);
      await snapshotter.commit(`committed ${round}`, `filled ${round}`);
      await snapshotter.close();
      const child = spawn(process.execPath, ['--input-type=module', '-e', script, String(round)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(child.stdout, 'data');
      await sleep(100 + round * 200);
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    open({ mountMode: 'folder', seal: 'commit' });
    await unpacked('last', undefined, (folder) => writeFileSync(join(folder, 'last'), ''));
    // Whoever was killed had a child, which ends by itself.
    await expect.poll(() => readdirSync(store.paths.ingest).length, { timeout: MINUTES }).toBe(0);
    for (let round = 0; round < rounds; round++) {
      const view = mounted.mount(await snapshotter.view(`view ${round}`, `committed ${round}`));
      expect(readdirSync(view)).toHaveLength(50);
      expect(readFileSync(join(view, 'f7'), 'latin1')).toBe(`${round} 7`);
    }
    expect(readdirSync(join(root, 'snapshots'))).toHaveLength(rounds);
    mounted.release();
    await snapshotter.close();
    open({});
    await snapshotter.cleanup();
    const names: string[] = [];
    await snapshotter.walk(({ name, kind }) => {
      if (kind === 'committed') names.push(name);
    });
    // One lease for each snapshot that is a layer now: all of them.
    expect(store.leases.list()).toHaveLength(names.length);
    expect(problems).toEqual([]);
  },
);
