/** What labels ask of a snapshot: other owners, a limit on its size. */
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { MNT, errno, mount, umount2, getProject, getProjectQuota, setProject, setProjectLimit } from '@layerfs/linux';
import { openStore, type Store } from '../packages/layerfs/dist/index.js';
import {
  openSnapshotter,
  type Mount,
  type Snapshotter,
  type SnapshotterOptions,
} from '../packages/snapshotter/dist/index.js';
import { afterEach, beforeEach, describe, expect, test, type TestContext } from 'vitest';
import { missing, need } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';
import { SnapshotMounts } from './support/snapshot-mounts.js';

const MAPS = {
  'containerd.io/snapshot/uidmapping': '0:100000:1000,1000:300000:10',
  'containerd.io/snapshot/gidmapping': '0:200000:1000',
};
const SIZE = 'containerd.io/snapshot/max-size';
const MINUTES = 60_000;

const reason = missing('root', 'fuse');
if (reason !== undefined) console.warn(`skipped: labels of snapshots: ${reason}`);

let work: string;
let root: string;
let store: Store | undefined;
let snapshotter: Snapshotter | undefined;
let problems: unknown[];
let mounted: SnapshotMounts;

beforeEach(() => {
  if (reason !== undefined) return;
  problems = [];
  work = scratchFolder('layerfs-labels-', true);
  mounted = new SnapshotMounts(work, join(work, 'store/snapshotter'));
});
afterEach(async () => {
  if (reason !== undefined) return;
  mounted.release();
  await snapshotter?.close();
  snapshotter = undefined;
  await store?.close();
  store = undefined;
  unmountBelow(work);
  rmSync(work, { recursive: true, force: true });
});

async function open(on: string, options: Pick<SnapshotterOptions, 'mountMode' | 'seal'>): Promise<Snapshotter> {
  if (snapshotter !== undefined) {
    await snapshotter.close();
    await store?.close();
  }
  root = join(on, 'store/snapshotter');
  store = await openStore({ root: join(on, 'store') });
  snapshotter = openSnapshotter({ root, store, seal: 'never', onProblem: (error) => problems.push(error), ...options });
  return snapshotter;
}

function unmountBelow(folder: string): void {
  const mounts = readFileSync('/proc/self/mounts', 'latin1').split('\n');
  for (const line of mounts.toReversed()) {
    const at = line.split(' ')[1] ?? '';
    if (at.startsWith(`${folder}/`)) umount2(at, MNT.DETACH);
  }
}

/** A layer as containerd unpacks it: files of root, of a user, and of one that no map has. */
async function unpack(snapshotter: Snapshotter, name: string, parent?: string): Promise<void> {
  const folder = mounted.mount(await snapshotter.prepare(`unpack ${name}`, parent));
  for (const id of [0, 5, 1003, 60_000]) {
    writeFileSync(join(folder, `${name}-${id}`), `content of ${id}`);
    chownSync(join(folder, `${name}-${id}`), id, id);
  }
  mounted.unmount(folder);
  await snapshotter.commit(name, `unpack ${name}`);
}

function owner(path: string): string {
  const { uid, gid } = statSync(path);
  return `${uid}:${gid}`;
}

const mappedMounts = (): string[] =>
  existsSync(join(root, 'mapped'))
    ? readdirSync(join(root, 'mapped')).flatMap((map) => readdirSync(join(root, 'mapped', map)))
    : [];

describe.skipIf(reason !== undefined).each([
  ['layers shown by the kernel', { mountMode: 'kernel', seal: 'commit' }],
  ['layers shown by FUSE', { mountMode: 'fuse', seal: 'commit' }],
  ['layers checked out', { mountMode: 'folder', seal: 'commit' }],
  ['folders', { seal: 'never' }],
] as const)('other owners: %s', (_, options) => {
  test('are seen and kept, and nobody else sees them', { timeout: 2 * MINUTES }, async () => {
    let shots = await open(work, options);
    await unpack(shots, 'one');
    await unpack(shots, 'two', 'one');
    const mounts = await shots.prepare('container', 'two', { labels: MAPS });
    const folder = mounted.mount(mounts);
    expect(owner(folder)).toBe('100000:200000');
    for (const layer of ['one', 'two']) {
      expect(owner(join(folder, `${layer}-0`))).toBe('100000:200000');
      expect(owner(join(folder, `${layer}-5`))).toBe('100005:200005');
      // Its group is none of the container's.
      expect(owner(join(folder, `${layer}-1003`))).toBe('300003:65534');
      expect(owner(join(folder, `${layer}-60000`))).toBe('65534:65534');
      expect(readFileSync(join(folder, `${layer}-5`), 'latin1')).toBe('content of 5');
    }
    // What is changed keeps the owner that was seen.
    writeFileSync(join(folder, 'one-5'), 'changed');
    chmodSync(join(folder, 'two-5'), 0o600);
    expect(owner(join(folder, 'one-5'))).toBe('100005:200005');
    expect(owner(join(folder, 'two-5'))).toBe('100005:200005');
    expect(readFileSync(join(folder, 'two-5'), 'latin1')).toBe('content of 5');
    mounted.unmount(folder);

    const plain = mounted.mount(await shots.prepare('plain', 'two'));
    expect(owner(plain)).toBe('0:0');
    expect(owner(join(plain, 'one-5'))).toBe('5:5');
    expect(readFileSync(join(plain, 'one-5'), 'latin1')).toBe('content of 5');
    const view = mounted.mount(await shots.view('view', 'two', { labels: MAPS }));
    expect(owner(join(view, 'two-5'))).toBe('100005:200005');
    expect(() => writeFileSync(join(view, 'x'), '')).toThrow(/EROFS/);
    mounted.unmount(view);

    // After a reboot all is made anew.
    mounted.unmount(plain);
    unmountBelow(root);
    shots = await open(work, options);
    expect(await shots.mounts('container')).toEqual(mounts);
    const again = mounted.mount(mounts);
    expect(owner(join(again, 'one-0'))).toBe('100000:200000');
    expect(readFileSync(join(again, 'one-5'), 'latin1')).toBe('changed');
    mounted.unmount(again);
    expect(mappedMounts().length).toBeGreaterThan(0);
    await shots.remove('container');
    expect(mappedMounts().length).toBeGreaterThan(0);
    await shots.remove('view');
    expect(mappedMounts()).toEqual([]);
    const after = mounted.mount(await shots.view('after', 'two'));
    expect(readFileSync(join(after, 'two-5'), 'latin1')).toBe('content of 5');
    expect(problems).toEqual([]);
  });
});

describe.skipIf(reason !== undefined)('other owners', () => {
  test('of an empty snapshot are those of the container’s root', async () => {
    const shots = await open(work, {});
    const folder = mounted.mount(await shots.prepare('base', undefined, { labels: MAPS }));
    expect(owner(folder)).toBe('100000:200000');
    await expect(
      shots.prepare('bad', undefined, { labels: { ...MAPS, [Object.keys(MAPS)[0]]: '0:1' } }),
    ).rejects.toMatchObject({
      code: 'invalid-argument',
    });
    expect(readdirSync(join(root, 'snapshots'))).toHaveLength(1);
  });

  test(
    'that the kernel cannot show are an error that says so, and nothing is left',
    { timeout: 2 * MINUTES },
    async () => {
      // overlayfs is a filesystem that shows owners only as they are.
      for (const name of ['lower', 'upper', 'work', 'overlay']) mkdirSync(join(work, name));
      const options = ['lower', 'upper', 'work'].map((name) => `${name}dir=${join(work, name)}`).join(',');
      mount('layerfs-test', join(work, 'overlay'), 'overlay', 0, options);
      const shots = await open(join(work, 'overlay'), {});
      await unpack(shots, 'one');
      await expect(shots.prepare('container', 'one', { labels: MAPS })).rejects.toMatchObject({
        code: 'failed-precondition',
        message: expect.stringMatching(/uidmapping.*kernel cannot show of .*mount_setattr: EINVAL/) as unknown,
      });
      expect(readdirSync(join(root, 'snapshots'))).toEqual(['1']);
      expect(mappedMounts()).toEqual([]);
      expect(await shots.prepare('container', 'one')).toHaveLength(1);
    },
  );
});

/** A filesystem that has quotas of projects, or a test that is skipped. */
function quotaFilesystem(context: TestContext, type: 'ext4' | 'xfs'): string {
  need(context, `mkfs.${type}`, 'losetup');
  const image = join(work, `${type}.img`);
  const folder = join(work, type);
  mkdirSync(folder);
  writeFileSync(image, '');
  truncateSync(image, 400 << 20);
  const features = type === 'ext4' ? ['-O', 'quota,project'] : [];
  for (const [program, ...args] of [
    [`mkfs.${type}`, '-q', ...features, image],
    ['mount', '-o', 'loop,prjquota', image, folder],
  ]) {
    const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    if (status === 0) continue;
    const why = `quotas of projects on ${type} do not work here: ${stderr.split('\n')[0]}`;
    console.warn(`skipped: ${context.task.name}: ${why}`);
    context.skip(why);
  }
  return folder;
}

/** Writes until there is no more room. @returns bytes written, and why it ended */
function fill(path: string): { readonly bytes: number; readonly error: number } {
  const chunk = Buffer.alloc(64 << 10, 'x');
  try {
    for (let i = 0; i < 1000; i++) writeFileSync(path, chunk, { flag: 'a' });
  } catch (error) {
    return { bytes: statSync(path).size, error: -Number((error as NodeJS.ErrnoException).errno) };
  }
  return { bytes: statSync(path).size, error: 0 };
}

describe.skipIf(reason !== undefined).each(['ext4', 'xfs'] as const)('a limit on the size, on %s', (type) => {
  test('holds, each for itself, also after a crash', { timeout: 5 * MINUTES }, async (context) => {
    const folder = quotaFilesystem(context, type);
    let shots = await open(folder, { mountMode: 'folder' });
    await unpack(shots, 'one');
    const limited = (key: string, size: number): Promise<readonly Mount[]> =>
      shots.prepare(key, 'one', { labels: { [SIZE]: String(size) } });
    const first = mounted.mount(await limited('first', 4 << 20));
    const second = mounted.mount(await limited('second', 8 << 20));
    const { bytes, error } = fill(join(first, 'fill'));
    expect([errno.EDQUOT, errno.ENOSPC]).toContain(error);
    expect(bytes).toBeGreaterThan(3 << 20);
    expect(bytes).toBeLessThanOrEqual(4 << 20);
    const usage = await shots.usage('first');
    expect(usage.bytes).toBeGreaterThan(3 << 20);
    expect(usage.bytes).toBeLessThanOrEqual(4 << 20);
    // Nobody else's room is less for it, and copies of what is below count.
    expect(fill(join(second, 'fill')).bytes).toBeGreaterThan(7 << 20);
    expect(() => writeFileSync(join(second, 'one-5'), Buffer.alloc(1 << 20))).toThrow(/-122|ENOSPC|EDQUOT/);
    const third = mounted.mount(await shots.prepare('free', 'one'));
    writeFileSync(join(third, 'large'), Buffer.alloc(16 << 20));
    // What is deleted gives room.
    rmSync(join(first, 'fill'));
    writeFileSync(join(first, 'again'), Buffer.alloc(2 << 20));

    const projects = new Set(
      readdirSync(join(root, 'snapshots')).map((id) => projectOf(join(root, 'snapshots', id, 'fs'))),
    );
    expect(projects.size).toBe(3);
    expect(projects).toContain(0);
    // As a crash leaves it: what was being made has its limit already.
    mounted.release();
    const orphan = 20_000_000;
    mkdirSync(join(root, 'staging/new-1234/fs'), { recursive: true });
    withFolder(join(root, 'staging/new-1234/fs'), (fd) => {
      setProject(fd, orphan);
      setProjectLimit(fd, orphan, 1 << 20);
    });
    shots = await open(folder, { mountMode: 'folder' });
    await shots.cleanup();
    expect(withFolder(root, (fd) => getProjectQuota(fd, orphan).limit)).toBe(0);
    const again = mounted.mount(await shots.mounts('first'));
    expect(fill(join(again, 'fill')).bytes).toBeLessThanOrEqual(4 << 20);
    mounted.unmount(again);
    const made = mounted.mount(await limited('made later', 4 << 20));
    expect(fill(join(made, 'fill')).bytes).toBeGreaterThan(3 << 20);
    mounted.unmount(made);
    const all = readdirSync(join(root, 'snapshots')).map((id) => projectOf(join(root, 'snapshots', id, 'fs')));
    expect(new Set(all.filter((project) => project !== 0)).size).toBe(3);
    await shots.commit('two', 'first');
    for (const key of ['second', 'made later', 'free', 'two', 'one']) await shots.remove(key);
    await shots.cleanup();
    for (const project of projects) expect(withFolder(root, (fd) => getProjectQuota(fd, project).limit)).toBe(0);
    expect(problems).toEqual([]);
  });
});

function withFolder<T>(path: string, action: (fd: number) => T): T {
  const fd = openSync(path, 'r');
  try {
    return action(fd);
  } finally {
    closeSync(fd);
  }
}

function projectOf(path: string): number {
  return withFolder(path, getProject);
}

test.skipIf(reason !== undefined)(
  'a limit that cannot be kept is an error that names the label, and nothing is left',
  async () => {
    const memory = join(work, 'memory');
    mkdirSync(memory);
    mount('layerfs-test', memory, 'tmpfs', 0);
    const shots = await open(memory, { mountMode: 'folder' });
    const limited = shots.prepare('limited', undefined, { labels: { [SIZE]: '1048576' } });
    await expect(limited).rejects.toMatchObject({
      code: 'failed-precondition',
      message: expect.stringMatching(
        /^The label containerd.io\/snapshot\/max-size cannot be kept: .*without quotas/,
      ) as unknown,
    });
    await expect(shots.prepare('bad', undefined, { labels: { [SIZE]: '1G' } })).rejects.toMatchObject({
      code: 'invalid-argument',
    });
    await shots.cleanup();
    expect(readdirSync(join(root, 'snapshots'))).toEqual([]);
    expect(readdirSync(join(root, 'staging'))).toEqual([]);
    expect(problems).toEqual([]);
  },
);
