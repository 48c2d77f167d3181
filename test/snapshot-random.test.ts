/**
 * Random changes under the kernel's overlayfs and under our own mount: whatever state the upper folder gets into, an image
 * committed from it shows what the mount showed, and the list of changes is that of comparing both images' trees.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { AT_FDCWD, makedev, mknodat, setXattr } from '@layerfs/linux';
import { openStore, type Store } from 'layerfs';
import { afterAll, expect, test } from 'vitest';
import { compareFolders, report } from './compare/compare.js';
import { run } from './images/oci.js';
import { tarOf, type TarEntry } from './images/tar.js';
import { Workplace } from './support/mounted.js';
import { need } from './support/needs.js';

const SEEDS = Number(process.env['LAYERFS_TEST_SEEDS'] ?? 8);
const STEPS = 120;
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
/** What a random step may meet: something is there already, or is of another kind. */
const NORMAL = new Set(['EEXIST', 'ENOENT', 'ENOTDIR', 'EISDIR', 'ENOTEMPTY', 'EINVAL', 'EPERM', 'EXDEV', 'EBUSY']);

const place = new Workplace({ disk: true });
afterAll(() => place.remove());

/** Folders three deep, with a file, an empty one and a link in each. */
function lowerTar(links: boolean): Uint8Array {
  const entries: TarEntry[] = [{ name: './', mode: 0o755, mtime: 1000 }];
  const fill = (folder: string, depth: number): void => {
    NAMES.slice(0, 3).forEach((name, i) => {
      const path = `${folder}${name}`;
      if (depth === 3) entries.push({ name: path, data: `content of ${path}\n`, mode: 0o644, mtime: 2000 + i });
      else {
        entries.push({ name: `${path}/`, mode: 0o755, mtime: 3000 + i, xattrs: i === 0 ? { 'user.lower': path } : {} });
        fill(`${path}/`, depth + 1);
      }
    });
    entries.push({ name: `${folder}e`, mode: 0o600, mtime: 4000 });
    // Overlayfs without an index breaks hardlinks, and shows a count that nothing can agree with.
    if (links && depth > 0) entries.push({ name: `${folder}d`, type: '1', linkname: 'e' });
    entries.push({ name: `${folder}f`, type: '2', linkname: 'a', mode: 0o777, mtime: 5000 });
  };
  fill('', 0);
  return tarOf(...entries);
}

/** Numbers below `limit`, the same for the same seed. */
function randomFrom(seed: number): (limit: number) => number {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

function step(root: string, random: (limit: number) => number): void {
  const all = ['', ...fs.readdirSync(root, { recursive: true, encoding: 'utf8' })];
  const any = (): string => join(root, all[random(all.length)]);
  const fresh = (): string => {
    const folders = all.filter((path) => fs.lstatSync(join(root, path)).isDirectory());
    return join(root, folders[random(folders.length)], NAMES[random(NAMES.length)]);
  };
  /** Calls with a path, unless that is a pipe, which would be waited for, or a device. */
  const file = (path: string, action: (path: string) => void): void => {
    const stats = fs.statSync(path, { throwIfNoEntry: false });
    if (stats === undefined || stats.isFile()) action(path);
  };
  const actions: (() => void)[] = [
    () => file(fresh(), (path) => fs.writeFileSync(path, `${random(1000)}`, { flag: random(2) === 0 ? 'wx' : 'a' })),
    () => file(any(), (path) => fs.appendFileSync(path, 'more')),
    () => file(any(), (path) => fs.truncateSync(path, random(40))),
    () => fs.mkdirSync(fresh()),
    () => fs.rmSync(any(), { recursive: random(2) === 0 }),
    () => fs.renameSync(any(), fresh()),
    () => fs.renameSync(any(), any()),
    () => fs.renameSync(any(), fresh()),
    () => fs.linkSync(any(), fresh()),
    () => fs.symlinkSync(NAMES[random(NAMES.length)], fresh()),
    () => fs.chmodSync(fs.realpathSync(any()), 0o400 + random(0o100)),
    () => fs.lchownSync(any(), random(3), random(3)),
    () => fs.lutimesSync(any(), 1, random(2 ** 31) + random(1000) / 1000),
    () => setXattr(fs.realpathSync(any()), `user.${NAMES[random(3)]}`, Buffer.from([random(256)])),
    () => mknodat(AT_FDCWD, fresh(), 0o010600),
    () => mknodat(AT_FDCWD, fresh(), 0o020600, makedev(10, 70_000 + random(5))),
    () => {
      // A folder made anew in the place of another.
      const path = any();
      if (path === root || !fs.lstatSync(path).isDirectory()) return;
      fs.rmSync(path, { recursive: true });
      fs.mkdirSync(path);
    },
  ];
  try {
    actions[random(actions.length)]();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (!NORMAL.has(code) && code !== 'ERR_FS_EISDIR' && code !== 'ELOOP') throw error;
  }
}

async function withStore<T>(action: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore({ root: place.root });
  try {
    return await action(store);
  } finally {
    await store.close();
  }
}

async function importLower(name: string, links: boolean): Promise<void> {
  const tar = join(place.folder, `${name}.tar`);
  fs.writeFileSync(tar, lowerTar(links));
  await withStore((store) => store.import(tar, { name }));
}

let lower: Promise<string> | undefined;

/** A checkout for overlayfs to stand on. */
async function checkOutLower(): Promise<string> {
  const folder = join(place.folder, 'lower');
  await importLower('base', false);
  await withStore((store) => store.checkout('base', folder));
  return folder;
}

let imported: Promise<void> | undefined;

/** Something that can mount a snapshot of `image`. */
interface Mounter {
  readonly image: string;
  mount(name: string, mountpoint: string, seed: number): Promise<unknown>;
  unmount(mountpoint: string): Promise<unknown>;
}

const OVERLAYFS: Mounter = {
  image: 'base',
  async mount(name, mountpoint, seed) {
    const below = await (lower ??= checkOutLower());
    const { upper, work } = await withStore(async (store) => {
      const known = store.snapshots().find((snapshot) => snapshot.name === name);
      return known ?? (await store.createSnapshot('base', { name }));
    });
    const features = ['', ',redirect_dir=on', ',redirect_dir=on,metacopy=on'][seed % 3];
    const data = `lowerdir=${below},upperdir=${upper},workdir=${work},index=off${features}`;
    return run('mount', ['-t', 'overlay', 'overlay', '-o', data, mountpoint]);
  },
  unmount: (mountpoint) => run('umount', [mountpoint]),
};

const LAYERFS: Mounter = {
  image: 'linked',
  async mount(name, mountpoint) {
    await (imported ??= importLower('linked', true));
    return place.ok(['mount', 'linked', mountpoint, '--rw', '--name', name]);
  },
  unmount: (mountpoint) => place.unmount(mountpoint),
};

async function expectCommitted(by: Mounter, name: string, seed: number): Promise<void> {
  const random = randomFrom(seed);
  const mountpoint = place.newFolder('mnt');
  await by.mount(name, mountpoint, seed);
  try {
    for (let i = 0; i < STEPS; i++) {
      step(mountpoint, random);
      if (i % 40 !== 39) continue;
      // What was remembered is found out anew.
      await by.unmount(mountpoint);
      await by.mount(name, mountpoint, seed);
    }
    const checkout = join(place.folder, `checkout-${name}`);
    const changes = await withStore(async (store) => {
      await store.commit(name, `committed:${name}`);
      await store.checkout(`committed:${name}`, checkout);
      return { upper: await store.diff(name), images: await store.diff(by.image, `committed:${name}`) };
    });
    const { unexplained } = await compareFolders(checkout, mountpoint);
    expect(report(unexplained, ['checkout', 'mount'])).toBe('');
    expect(changes.upper).toEqual(changes.images);
    expect(changes.upper.length).toBeGreaterThan(10);
    fs.rmSync(checkout, { recursive: true });
  } finally {
    await by.unmount(mountpoint);
  }
}

const seeds = Array.from({ length: SEEDS }, (_, seed) => seed);

test.for(seeds)('overlayfs, seed %i', { timeout: 120_000 }, async (seed, context) => {
  need(context, 'root', 'getfattr');
  await expectCommitted(OVERLAYFS, `overlayfs-${seed}`, seed);
});

test.for(seeds)('layerfs mount --rw, seed %i', { timeout: 120_000 }, async (seed, context) => {
  need(context, 'root', 'fuse', 'getfattr');
  await expectCommitted(LAYERFS, `layerfs-${seed}`, seed + 1000);
});
