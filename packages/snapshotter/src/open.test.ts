import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LayerfsError, type LayerfsErrorCode } from 'layerfs';
import { RecordFile } from 'layerfs/records';
import { open as openLmdb } from 'lmdb';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openSnapshotter } from './open.js';
import type { Mount, SnapshotInfo, Snapshotter } from './snapshotter.js';

let root: string;
let snapshotter: Snapshotter;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'layerfs-snapshotter-'));
  snapshotter = openSnapshotter({ root });
});
afterEach(async () => {
  await snapshotter.close();
  rmSync(root, { recursive: true, force: true });
});

async function fails(work: Promise<unknown>, code: LayerfsErrorCode): Promise<void> {
  const error = await work.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(LayerfsError);
  expect((error as LayerfsError).code).toBe(code);
}

async function all(filters?: readonly string[]): Promise<SnapshotInfo[]> {
  const found: SnapshotInfo[] = [];
  await snapshotter.walk((info) => void found.push(info), filters);
  return found;
}

const upper = ([mount]: readonly Mount[]): string =>
  mount.type === 'bind' ? mount.source : mount.options.find((each) => each.startsWith('upperdir='))!.slice(9);
const folders = (): string[] => readdirSync(join(root, 'snapshots'));

test('a base is a bind mount, what stands on something an overlay, a view of one layer a read-only bind mount', async () => {
  const base = await snapshotter.prepare('key a', undefined);
  expect(base).toEqual([{ type: 'bind', source: join(root, 'snapshots/1/fs'), options: ['rw', 'rbind'] }]);
  expect(await snapshotter.mounts('key a')).toEqual(base);
  await snapshotter.commit('one', 'key a');
  await snapshotter.prepare('b', 'one');
  await snapshotter.commit('two', 'b');
  const [overlay] = await snapshotter.prepare('c', 'two');
  expect(overlay).toMatchObject({ type: 'overlay', source: 'overlay' });
  expect(overlay.options.filter((option) => option !== 'index=off')).toEqual([
    `workdir=${root}/snapshots/3/work`,
    `upperdir=${root}/snapshots/3/fs`,
    `lowerdir=${root}/snapshots/2/fs:${root}/snapshots/1/fs`,
  ]);
  expect(await snapshotter.view('v', 'one')).toEqual([
    { type: 'bind', source: join(root, 'snapshots/1/fs'), options: ['ro', 'rbind'] },
  ]);
  const [two] = await snapshotter.view('w', 'two');
  expect(two.options.some((option) => option.startsWith('upperdir='))).toBe(false);
});

test('what is committed keeps its content, loses its key and takes the labels of the commit', async () => {
  const mounts = await snapshotter.prepare('a', undefined, { labels: { x: '1' } });
  writeFileSync(join(upper(mounts), 'file'), 'content');
  const before = await snapshotter.stat('a');
  expect(before).toMatchObject({ kind: 'active', name: 'a', labels: { x: '1' } });
  await snapshotter.commit('one', 'a', { labels: { y: '2' } });
  await fails(snapshotter.stat('a'), 'not-found');
  const after = await snapshotter.stat('one');
  expect(after).toMatchObject({ kind: 'committed', name: 'one', labels: { y: '2' } });
  expect(after.updated).toBe(after.created);
  expect(after.created).toBeGreaterThan(before.created);
  const { bytes, inodes } = await snapshotter.usage('one');
  expect(inodes).toBe(2);
  expect(bytes).toBeGreaterThan(0);
  expect(await snapshotter.prepare('a', 'one')).toHaveLength(1);
});

test('the root of a child has owner and mode of its parent’s', async () => {
  const mounts = await snapshotter.prepare('a', undefined);
  expect(statSync(upper(mounts)).mode & 0o7777).toBe(0o755);
  mkdirSync(join(upper(mounts), 'x'));
  const { chmodSync } = await import('node:fs');
  chmodSync(upper(mounts), 0o1750);
  await snapshotter.commit('one', 'a');
  expect(statSync(upper(await snapshotter.prepare('b', 'one'))).mode & 0o7777).toBe(0o1750);
});

test('each mistake has its code', async () => {
  await snapshotter.prepare('a', undefined);
  await fails(snapshotter.prepare('a', undefined), 'already-exists');
  await fails(snapshotter.view('a', undefined), 'already-exists');
  await fails(snapshotter.prepare('b', 'none'), 'not-found');
  await fails(snapshotter.prepare('b', 'a'), 'invalid-argument');
  await fails(snapshotter.stat('none'), 'not-found');
  await fails(snapshotter.usage('none'), 'not-found');
  await fails(snapshotter.mounts('none'), 'not-found');
  await fails(snapshotter.remove('none'), 'not-found');
  await fails(snapshotter.commit('one', 'none'), 'not-found');
  await fails(snapshotter.prepare('', undefined), 'invalid-argument');
  await fails(snapshotter.prepare('k'.repeat(70_000), undefined), 'invalid-argument');
  await fails(snapshotter.prepare('b', undefined, { labels: { l: 'x'.repeat(4096) } }), 'invalid-argument');
  await snapshotter.commit('one', 'a');
  await fails(snapshotter.mounts('one'), 'failed-precondition');
  await fails(snapshotter.commit('two', 'one'), 'failed-precondition');
  await snapshotter.view('v', 'one');
  await fails(snapshotter.commit('two', 'v'), 'failed-precondition');
  await fails(snapshotter.remove('one'), 'failed-precondition');
  await snapshotter.prepare('c', 'one');
  await fails(snapshotter.commit('one', 'c'), 'already-exists');
  await fails(snapshotter.commit('two', 'c', { parent: 'other' }), 'invalid-argument');
  await fails(all(['kind=']), 'invalid-argument');
  await fails(snapshotter.update({ name: 'one', labels: {} }, ['kind']), 'invalid-argument');
  // Nothing was left of what failed.
  await snapshotter.cleanup();
  expect(folders()).toHaveLength((await all()).length);
  expect(readdirSync(join(root, 'staging'))).toEqual([]);
});

test('keys are no paths, and may be long', async () => {
  const keys = ['default/1/a', '../../escape', 'with spaces \n and lines', '/', '.', 'é'.repeat(30_000), '\0'];
  for (const key of keys) await snapshotter.prepare(key, undefined);
  expect((await all()).map(({ name }) => name).toSorted()).toEqual(keys.toSorted());
  expect(folders().every((name) => /^[0-9]+$/.test(name))).toBe(true);
  for (const key of keys) await snapshotter.remove(key);
  expect(folders()).toEqual([]);
});

test('labels are changed one by one, or all', async () => {
  await snapshotter.prepare('a', undefined, { labels: { x: '1', y: '2' } });
  const { updated } = await snapshotter.stat('a');
  const one = await snapshotter.update({ name: 'a', labels: { x: '3', z: '4' } }, ['labels.x']);
  expect(one.labels).toEqual({ x: '3', y: '2' });
  expect(one.updated).toBeGreaterThan(updated);
  expect((await snapshotter.update({ name: 'a', labels: {} }, ['labels.y'])).labels).toEqual({ x: '3' });
  expect((await snapshotter.update({ name: 'a', labels: { q: '5' } })).labels).toEqual({ q: '5' });
  expect((await snapshotter.stat('a')).labels).toEqual({ q: '5' });
});

test('walking finds what a filter passes, and may look at what it finds', async () => {
  for (let i = 0; i < 20; i++) await snapshotter.prepare(`k${i}`, undefined, { labels: { parity: String(i % 2) } });
  expect(await all(['labels.parity==1', 'name==k0'])).toHaveLength(11);
  await snapshotter.walk(async ({ name }) => {
    expect((await snapshotter.stat(name)).name).toBe(name);
    await snapshotter.remove(name);
  });
  expect(await all()).toEqual([]);
});

test('opened again all is there; what a crash left is not', async () => {
  await snapshotter.prepare('a', undefined);
  await snapshotter.commit('one', 'a');
  const mounts = await snapshotter.prepare('b', 'one');
  writeFileSync(join(upper(mounts), 'file'), 'content');
  expect(() => openSnapshotter({ root })).toThrow('is in use');
  await snapshotter.close();
  mkdirSync(join(root, 'snapshots/99/fs'), { recursive: true });
  mkdirSync(join(root, 'staging/new-1234/fs'), { recursive: true });
  snapshotter = openSnapshotter({ root });
  expect((await all()).map(({ name }) => name).toSorted()).toEqual(['b', 'one']);
  expect(existsSync(join(upper(await snapshotter.mounts('b')), 'file'))).toBe(true);
  await snapshotter.close();
  expect(folders().toSorted()).toEqual(['1', '2']);
  expect(readdirSync(join(root, 'staging'))).toEqual([]);
});

test('many at once, of which one may have a key', async () => {
  await snapshotter.prepare('a', undefined);
  await snapshotter.commit('one', 'a');
  const outcomes = await Promise.allSettled(
    Array.from({ length: 40 }, (_, i) => snapshotter.prepare(`k${i % 20}`, 'one')),
  );
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(20);
  expect(folders()).toHaveLength(21);
});

test('a removal that is recorded is done, whatever becomes of the folders: containerd would end its collection', async () => {
  const problems: unknown[] = [];
  await snapshotter.close();
  snapshotter = openSnapshotter({ root, onProblem: (error) => problems.push(error) });
  await snapshotter.prepare('a', undefined);
  rmSync(join(root, 'staging'), { recursive: true });
  writeFileSync(join(root, 'staging'), 'no folder');
  await snapshotter.remove('a');
  expect(problems.map(String).join()).toContain('ENOTDIR');
  await fails(snapshotter.stat('a'), 'not-found');
  rmSync(join(root, 'staging'));
  await snapshotter.close();
  snapshotter = openSnapshotter({ root });
  await snapshotter.close();
  expect(folders()).toEqual([]);
});

test('a deep tree is counted and removed', async () => {
  const [mount] = await snapshotter.prepare('a', undefined);
  const { execFileSync } = await import('node:child_process');
  // Deeper than a path can be long.
  const script = `import os,sys\nos.chdir(sys.argv[1])\nfor i in range(300):\n os.mkdir('d'*100)\n os.chdir('d'*100)\nopen('f','w').write('x')`;
  try {
    execFileSync('python3', ['-c', script, mount.source], { stdio: 'ignore' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  expect((await snapshotter.usage('a')).inodes).toBe(302);
  await snapshotter.remove('a');
  await snapshotter.cleanup();
  expect(readdirSync(join(root, 'staging'))).toEqual([]);
});

test('a closed one says so', async () => {
  await snapshotter.close();
  await snapshotter.close();
  await expect(snapshotter.stat('a')).rejects.toThrow('closed');
  await expect(snapshotter.prepare('a', undefined)).rejects.toThrow('closed');
});

test('a folder that overlayfs could not name is refused', () => {
  expect(() => openSnapshotter({ root: join(root, 'a:b') })).toThrow('overlayfs takes no folder');
});

test('records that an older layerfs kept in LMDB are taken over', async () => {
  await snapshotter.prepare('key', undefined, { labels: { some: 'label' } });
  const [{ source: path }] = await snapshotter.mounts('key');
  writeFileSync(join(path, 'file'), 'content');
  await snapshotter.commit('kept', 'key');
  const before = await all();
  await snapshotter.close();
  // As it was: names by their sha256, and how many numbers were given.
  const meta = join(root, 'meta');
  const file = new RecordFile(join(meta, 'records'));
  const rows = file.select('select row(key, value) from snapshots') as [string, string][];
  file.close();
  rmSync(meta, { recursive: true });
  const env = openLmdb({ path: meta, maxDbs: 4 });
  const snapshots = env.openDB<unknown, string>('snapshots', { encoding: 'json' });
  for (const [key, value] of rows) snapshots.putSync(key, JSON.parse(value));
  env.openDB<number, string>('counters', { encoding: 'json' }).putSync('id', 1);
  await env.close();
  for (let times = 0; times < 2; times++) {
    snapshotter = openSnapshotter({ root });
    expect(await all()).toEqual(before);
    if (times === 0) await snapshotter.close();
  }
  expect(readdirSync(meta).filter((name) => !name.startsWith('records'))).toEqual([]);
  expect(existsSync(join(path, 'file'))).toBe(true);
  expect((await snapshotter.prepare('next', 'kept'))[0].options).toContain(`upperdir=${root}/snapshots/2/fs`);
});

test('folders that a failing machine lost before they were on disk are made again; a layer that is gone is told', async () => {
  const base = await snapshotter.prepare('base', undefined);
  chmodSync(upper(base), 0o700);
  await snapshotter.commit('one', 'base');
  await snapshotter.prepare('layer', 'one');
  await snapshotter.commit('two', 'layer');
  const active = await snapshotter.prepare('active', 'one');
  await snapshotter.view('view', 'one');
  await snapshotter.close();
  for (const id of ['2', '3', '4']) rmSync(join(root, 'snapshots', id), { recursive: true });
  const problems: unknown[] = [];
  snapshotter = openSnapshotter({ root, onProblem: (error) => problems.push(error) });
  expect(await snapshotter.mounts('active')).toEqual(active);
  expect(folders()).toEqual(['1', '3', '4']);
  expect(readdirSync(join(root, 'snapshots/3'))).toEqual(['fs', 'work']);
  expect(statSync(upper(active)).mode & 0o7777).toBe(0o700);
  expect(problems.map((error) => (error as LayerfsError).code)).toEqual(['corrupt']);
  expect(String(problems[0])).toContain('"two"');
  // It can be removed, and made again.
  await snapshotter.remove('two');
  await snapshotter.commit('three', 'active');
});

test('a number whose record could not be written is not given again', async () => {
  await snapshotter.prepare('a', undefined);
  const exec = vi.spyOn(RecordFile.prototype, 'transaction').mockImplementationOnce(() => {
    throw Object.assign(new Error('ENOSPC: no room'), { code: 'ENOSPC' });
  });
  await expect(snapshotter.prepare('b', undefined)).rejects.toThrow('ENOSPC');
  exec.mockRestore();
  await snapshotter.prepare('b', undefined);
  expect(await snapshotter.stat('b')).toMatchObject({ name: 'b' });
});
