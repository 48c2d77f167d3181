/**
 * Kernel mounts: what overlayfs shows of our EROFS images and the objects equals what umoci unpacks, nothing can write to an object, snapshots
 * go from kernel to FUSE and back, and the layers of a mount stay as long as the kernel uses them, and no longer.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi, type TestContext } from 'vitest';
import { close, getXattr, listXattrs, mountDetached, moveMount, setXattr } from '@layerfs/linux';
import { openStore, type MountInfo } from 'layerfs';
import { mountByKernel, type KernelWays } from '../packages/layerfs/dist/mount/kernel/kernel-mount.js';
import { Tree } from '../packages/layerfs/dist/core/tree/tree.js';
import { ErofsImage } from '../packages/layerfs/dist/core/erofs/image.js';
import { mountErofs } from '../packages/layerfs/dist/mount/kernel/erofs-mount.js';
import { judge, report, type Excuse } from './compare/compare.js';
import { snapshot, type Snapshot } from './compare/snapshot.js';
import type { ImageName } from './images/index.js';
import { run } from './images/oci.js';
import { tarOf } from './images/tar.js';
import { checkImage, countTypes, erofsImages, loopFiles, mountsOf, needKernelMounts } from './support/erofs.js';
import { Workplace } from './support/mounted.js';
import { needImage } from './support/needs.js';
import { TreeSource } from './support/tree-source.js';
import { UMOCI_EXCUSES, umociUnpack } from './support/umoci.js';

// Each starts the command many times, which takes a busy machine long.
vi.setConfig({ testTimeout: 300_000 });

const places: Workplace[] = [];
function newPlace(): Workplace {
  const place = new Workplace({ disk: true });
  places.push(place);
  return place;
}
afterAll(async () => {
  for (const place of places) await place.remove();
});

const KERNEL = ['--mount-mode', 'kernel'] as const;

function expectSame(ours: Snapshot, theirs: Snapshot, who: [string, string], excuses: Excuse[] = []): void {
  const { unexplained, excused } = judge(ours, theirs, excuses);
  expect(report(unexplained, who)).toBe('');
  for (const [reason, count] of excused) expect(count, `excuse never used: ${reason}`).toBeGreaterThan(0);
  expect(ours.size).toBe(theirs.size);
}

/** Digests and sizes of all objects, read. */
function objectsOf(root: string): string[] {
  const objects = join(root, 'objects');
  return readdirSync(objects, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.includes('/'))
    .toSorted()
    .map(
      (path) =>
        `${path} ${createHash('sha256')
          .update(readFileSync(join(objects, path)))
          .digest('hex')}`,
    );
}

const latin1 = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('latin1');

/** A mount namespace that another test made meanwhile has a copy of a mount, and its entry is kept for as long. */
async function expectNoEntries(place: Workplace): Promise<void> {
  const entries = async (): Promise<string[]> => {
    await place.ok(['mounts']);
    return readdirSync(join(place.root, 'mounts'));
  };
  await expect.poll(entries, { timeout: 60_000 }).toEqual([]);
}

/** Nothing is left of kernel mounts of a store but the cached images. */
async function expectNothingLeft(place: Workplace): Promise<void> {
  expect(mountsOf(place.folder)).toEqual([]);
  await expectNoEntries(place);
  expect(readdirSync(join(place.root, 'ingest'))).toEqual([]);
  expect(loopFiles().filter((file) => file.startsWith(place.folder))).toEqual([]);
}

/** A small image with a bit of everything, made here. */
const SMALL = tarOf(
  { name: './', mode: 0o755, mtime: 1000 },
  ...['d', 'd/sub', 'empty', 'links', 'x'].map((name) => ({ name: `${name}/`, mode: 0o755, mtime: 1000 })),
  { name: 'd/file', data: 'lower content\n', mode: 0o640, mtime: 2000 },
  { name: 'd/other', data: 'other\n', mtime: 2000 },
  { name: 'd/sub/deep', data: 'deep\n', mtime: 2000 },
  { name: 'd/large', data: 'x'.repeat(300_000), mtime: 2000 },
  { name: 'd/nothing', data: '', mtime: 2000 },
  { name: 'd/link', type: '2', linkname: 'file', mtime: 2000 },
  { name: 'links/one', data: 'linked\n', mtime: 2000 },
  { name: 'links/two', type: '1', linkname: 'links/one' },
  { name: 'x/a', data: 'a\n', mtime: 2000 },
  { name: 'x/b', data: 'b\n', mtime: 2000 },
);

async function smallPlace(): Promise<Workplace> {
  const place = newPlace();
  const tar = join(place.folder, 'small.tar');
  writeFileSync(tar, SMALL);
  await place.ok(['import', tar, '--name', 'small']);
  return place;
}

async function expectMountEqualsUmoci(context: TestContext, name: ImageName, excuses: Excuse[]): Promise<void> {
  needKernelMounts(context, 'umoci', 'getfattr', 'fsck.erofs', 'dump.erofs');
  const { path } = await needImage(context, name);
  const unpacked = await umociUnpack(path);
  const place = newPlace();
  try {
    await place.ok(['import', path, '--name', 'image']);
    const mountpoint = await place.mount('image', ...KERNEL);
    const [image] = erofsImages(place.root);
    await checkImage(image);
    const { stdout } = await run('find', [unpacked.path, '-printf', '%y\\n'], { maxBuffer: 64 << 20 });
    const types: Record<string, number> = {};
    for (const letter of stdout.trim().split('\n')) types[letter] = (types[letter] ?? 0) + 1;
    expect(await countTypes(image)).toEqual(types);
    expectSame(await snapshot(mountpoint), await snapshot(unpacked.path), ['kernel', 'umoci'], excuses);
    await place.unmount(mountpoint);
    await expectNothingLeft(place);
  } finally {
    unpacked.remove();
  }
}

describe('a kernel mount equals umoci unpack, fsck.erofs finds its image sound, and dump.erofs counts the same', () => {
  test('mini: every oddity there is', (context) => expectMountEqualsUmoci(context, 'mini', UMOCI_EXCUSES));
  test('debian', (context) => expectMountEqualsUmoci(context, 'debian', UMOCI_EXCUSES));
  test('128 layers', (context) => expectMountEqualsUmoci(context, 'layers128', []));
});

test('images of 128 layers with whiteouts are sound, and stacked show what the merged one shows', async (context) => {
  needKernelMounts(context, 'getfattr', 'fsck.erofs');
  const { path } = await needImage(context, 'layers128');
  const place = newPlace();
  await place.ok(['import', path, '--name', 'image']);
  const store = await openStore({ root: place.root });
  const lowers: string[] = [];
  try {
    for (const { tree } of await store.layerTrees('image')) {
      const image = join(place.folder, `layer-${lowers.length}`);
      writeFileSync(image, Buffer.concat([...new ErofsImage(tree).write()]));
      await checkImage(image);
      const folder = place.newFolder('lower');
      mountErofs(image, folder);
      lowers.unshift(folder);
    }
  } finally {
    await store.close();
  }
  const stacked = place.newFolder('stacked');
  // 128 paths do not fit mount(2)'s one page.
  const parameters = [
    ...lowers.map((lower) => ['lowerdir+', lower] as const),
    ['datadir+', join(place.root, 'objects')] as const,
    ['metacopy', 'on'] as const,
    ['redirect_dir', 'on'] as const,
  ];
  const fd = mountDetached('overlay', parameters, 1);
  moveMount(fd, stacked);
  close(fd);
  const merged = await place.mount('image', ...KERNEL);
  expectSame(await snapshot(merged), await snapshot(stacked), ['merged', 'stacked']);
  for (const folder of [stacked, ...lowers]) await run('umount', [folder]);
  await place.unmount(merged);
  await expectNothingLeft(place);
});

test('an opaque folder of a layer hides what is below', async (context) => {
  needKernelMounts(context, 'fsck.erofs');
  const place = newPlace();
  const source = new TreeSource();
  const lower = new TreeSource();
  try {
    for (const name of ['opaque', 'merged']) {
      lower.add(name, { mode: 0o040755 }).add(`${name}/lower`, { mode: 0o100644 });
      const folder = source
        .add(name, { mode: 0o040755 })
        .add(`${name}/upper`, { mode: 0o100644 })
        .builder.find(1, name);
      if (name === 'opaque') source.builder.setOpaque(folder);
    }
    const folders: string[] = [];
    for (const each of [source, lower]) {
      const { path } = await (await each.finish()).tree('layer');
      const image = join(each.folder, 'image');
      writeFileSync(image, Buffer.concat([...new ErofsImage(Tree.open(readFileSync(path))).write()]));
      await checkImage(image);
      folders.push(place.newFolder());
      mountErofs(image, folders.at(-1)!);
    }
    const stacked = place.newFolder();
    await run('mount', ['-t', 'overlay', '-o', `lowerdir=${folders.join(':')}`, 'none', stacked]);
    expect(readdirSync(join(stacked, 'opaque'))).toEqual(['upper']);
    expect(readdirSync(join(stacked, 'merged'))).toEqual(['lower', 'upper']);
    for (const folder of [stacked, ...folders]) await run('umount', [folder]);
  } finally {
    source.remove();
    lower.remove();
  }
});

describe('each way that kernels offer', () => {
  const WAYS: [string, KernelWays, MountInfo['kernel']][] = [
    ['file, fsopen', {}, expect.objectContaining({ backing: 'file' }) as MountInfo['kernel']],
    ['loop device, fsopen', { file: false }, expect.objectContaining({ backing: 'loop' }) as MountInfo['kernel']],
    ['file, mount(2)', { fsopen: false }, expect.objectContaining({ backing: 'file' }) as MountInfo['kernel']],
    ['loop device, mount(2)', { file: false, fsopen: false }, expect.anything() as MountInfo['kernel']],
  ];
  test.for(WAYS)('%s: also where paths have colons, commas and backslashes', async ([, ways, kernel], context) => {
    needKernelMounts(context, 'getfattr');
    const place = newPlace();
    const root = join(place.folder, 'a:b,c\\d e::');
    const mountpoint = place.newFolder('m:n,o\\');
    writeFileSync(join(place.folder, 'small.tar'), SMALL);
    const store = await openStore({ root });
    try {
      await store.import(join(place.folder, 'small.tar'), { name: 'small' });
      const info = await mountByKernel(store, 'small', mountpoint, {}, ways);
      expect(info.kernel).toEqual(kernel);
      expect(readFileSync(join(mountpoint, 'd/file'), 'utf8')).toBe('lower content\n');
      expect(readFileSync(join(mountpoint, 'd/nothing'), 'utf8')).toBe('');
      expect(() => writeFileSync(join(mountpoint, 'd/file'), 'x')).toThrow(/EROFS/);
      await place.ok(['--root', root, 'unmount', mountpoint]);
      const named = await mountByKernel(store, 'small', mountpoint, { writable: true, name: 'work' }, ways);
      expect(named.snapshot).toBe('work');
      writeFileSync(join(mountpoint, 'd/file'), 'changed');
      await place.ok(['--root', root, 'unmount', mountpoint]);
      expect(await store.diff('work')).toContainEqual({ kind: 'changed', path: 'd/file' });
      expect(readdirSync(join(root, 'mounts'))).toEqual([]);
      expect(mountsOf(place.folder)).toEqual([]);
      expect(loopFiles().filter((file) => file.startsWith(place.folder))).toEqual([]);
    } finally {
      await store.close();
    }
  });
});

test('nosuid and nodev unless asked for, and no process', async (context) => {
  needKernelMounts(context);
  const place = await smallPlace();
  const plain = await place.mount('small', ...KERNEL);
  const open = await place.mount('small', ...KERNEL, '--suid', '--dev');
  const optionsOf = (path: string): string => mountsOf(path)[0]?.split(' ')[5] ?? '';
  expect(optionsOf(plain)).toMatch(/^ro,nosuid,nodev/);
  expect(optionsOf(open)).toMatch(/^ro,relatime/);
  const listed = JSON.parse(await place.ok(['mounts', '--json'])) as MountInfo[];
  expect(listed).toMatchObject([
    { kernel: {}, mountpoint: plain },
    { kernel: {}, mountpoint: open },
  ]);
  expect(await place.ok(['mounts'])).toMatch(/none: kernel/);
  expect(await place.ok(['explain', join(plain, 'd/file')])).toMatch(/content sha256:/);
  await place.unmount(plain);
  await place.unmount(open);
  await expectNothingLeft(place);
});

test('attributes of an image that overlayfs would take for its own are shown as they are', async (context) => {
  needKernelMounts(context);
  const place = newPlace();
  const xattrs = { 'trusted.overlay.redirect': '/etc', 'trusted.overlay.opaque': 'y', 'user.overlay.x': '1' };
  const pax = Object.fromEntries(Object.entries(xattrs).map(([name, value]) => [`SCHILY.xattr.${name}`, value]));
  writeFileSync(join(place.folder, 'odd.tar'), tarOf({ name: 'd/', pax }, { name: 'd/file', data: 'x', pax }));
  await place.ok(['import', join(place.folder, 'odd.tar'), '--name', 'odd']);
  const mountpoint = await place.mount('odd', ...KERNEL);
  for (const path of ['d', 'd/file']) {
    const file = join(mountpoint, path);
    expect(listXattrs(file).toSorted()).toEqual(Object.keys(xattrs).toSorted());
    for (const [name, value] of Object.entries(xattrs)) expect(latin1(getXattr(file, name))).toBe(value);
  }
  expect(readFileSync(join(mountpoint, 'd/file'), 'utf8')).toBe('x');
  await place.unmount(mountpoint);
});

/** Changes of every kind, as a shell does them. */
const CHANGES = [
  `chmod 600 d/file; setfattr -n user.note -v yes d/other; echo more >> d/sub/deep; truncate -s 1000 d/large
   touch -d @4000.123456789 d/nothing; mv d/other moved; mv d/sub renamed; rm x/a; rm -r empty; mkdir empty; echo new > empty/file
   ln d/file second; ln -s target symlink; mknod fifo p; mknod null c 1 3; chown 5:6 moved; mkdir -m 1777 tmp; : > tmp/zero`,
  `echo over > d/file; mv moved d/back; mv renamed d/again; chmod 711 d/again; rm -rf x; mkdir x; echo x > x/b; rm second
   echo added >> d/again/deep; mv d d2; chmod 4755 d2/large; rm fifo; ln d2/back also; echo z > tmp/zero; touch -d @5000 tmp`,
];

describe('a writable snapshot', () => {
  test.for([
    ['kernel', 'fuse'],
    ['fuse', 'kernel'],
  ] as const)('changed by %s is the same by %s, and the reverse; no object changes', async (modes, context) => {
    needKernelMounts(context, 'fuse', 'getfattr', 'setfattr');
    const place = await smallPlace();
    const objects = objectsOf(place.root);
    const look = async (mode: string, change?: string): Promise<Snapshot> => {
      const mountpoint = await place.mount('small', '--mount-mode', mode, '--name', 'work');
      if (change !== undefined) await run('sh', ['-ec', change], { cwd: mountpoint });
      const seen = await snapshot(mountpoint);
      await place.unmount(mountpoint);
      await expectNoEntries(place);
      return seen;
    };
    for (const [round, change] of CHANGES.entries()) {
      const [first, second] = [modes[round % 2], modes[(round + 1) % 2]];
      const done = await look(first, change);
      expectSame(await look(second), done, [second, first]);
      expectSame(await look(first), done, [first, `${first} before`]);
    }
    const last = await look('kernel');
    await place.ok(['commit', 'work', 'committed']);
    const committed = await place.mount('committed', ...KERNEL);
    expectSame(await snapshot(committed), last, ['committed', 'snapshot']);
    await place.unmount(committed);
    expect(objectsOf(place.root).filter((line) => objects.includes(line))).toEqual(objects);
    await place.ok(['rm', 'work']);
    await expectNothingLeft(place);
  });

  test('metadata-only copy-up copies no content, and what reads a name afterwards gets it', async (context) => {
    needKernelMounts(context, 'fuse');
    const place = await smallPlace();
    const mountpoint = await place.mount('small', ...KERNEL, '--name', 'work');
    await run('chmod', ['600', join(mountpoint, 'd/large')]);
    const [info] = JSON.parse(await place.ok(['snapshots', '--json'])) as { upper: string }[];
    expect(statSync(join(info.upper, 'd/large')).blocks * 512).toBeLessThanOrEqual(4096);
    expect(readFileSync(join(mountpoint, 'd/large'), 'latin1')).toBe('x'.repeat(300_000));
    await place.unmount(mountpoint);
  });

  test('what a killed server left half done is undone before the kernel gets it', async (context) => {
    needKernelMounts(context);
    const place = await smallPlace();
    const mountpoint = await place.mount('small', '--name', 'work');
    const ino = statSync(join(mountpoint, 'links/one'), { bigint: true }).ino;
    await place.unmount(mountpoint);
    const [info] = JSON.parse(await place.ok(['snapshots', '--json'])) as { upper: string; work: string }[];
    // Copied up, but not yet given all of its names.
    const staged = join(info.work, 'layerfs/half');
    writeFileSync(staged, 'half done');
    const origin = Buffer.alloc(8);
    origin.writeBigUInt64LE(ino);
    setXattr(staged, 'trusted.overlay.layerfs.ino', origin);
    mkdirSync(join(info.upper, 'links'));
    linkSync(staged, join(info.upper, 'links/one'));
    const again = await place.mount('small', ...KERNEL, '--name', 'work');
    for (const name of ['one', 'two']) expect(readFileSync(join(again, 'links', name), 'utf8')).toBe('linked\n');
    await place.unmount(again);
  });

  test('is held, compared and committed only when it is not mounted by the kernel, and says so', async (context) => {
    needKernelMounts(context);
    const place = await smallPlace();
    const mountpoint = await place.mount('small', ...KERNEL, '--name', 'work');
    writeFileSync(join(mountpoint, 'new'), 'x');
    for (const command of [
      ['diff', 'work'],
      ['commit', 'work', 'image'],
      ['rm', 'work'],
    ]) {
      const { code, stderr } = await place.try(command);
      expect({ code, stderr }).toEqual({ code: 6, stderr: expect.stringContaining('unmount it first') as string });
    }
    const second = await place.try(['mount', 'small', place.newFolder(), '--name', 'work']);
    expect(second.stderr).toContain('already mounted');
    await place.unmount(mountpoint);
    expect(JSON.parse(await place.ok(['diff', 'work', '--json']))).toContainEqual({ kind: 'added', path: '/new' });
  });

  test('--volatile can be mounted again', async (context) => {
    needKernelMounts(context);
    const place = await smallPlace();
    for (let i = 0; i < 2; i++) {
      const mountpoint = await place.mount('small', ...KERNEL, '--name', 'work', '--volatile');
      writeFileSync(join(mountpoint, `file${i}`), 'x');
      await place.unmount(mountpoint);
    }
    await expectNothingLeft(place);
  });
});

describe('layers stay as long as the kernel uses them, and no longer', () => {
  test('while mounted: removal is refused, forced removal leaves what is needed', async (context) => {
    needKernelMounts(context);
    const place = await smallPlace();
    const mountpoint = await place.mount('small', ...KERNEL);
    expect((await place.try(['rmi', 'small'])).code).toBe(6);
    await place.ok(['rmi', '--force', 'small']);
    await place.ok(['gc']);
    expect(readFileSync(join(mountpoint, 'x/a'), 'utf8')).toBe('a\n');
    await place.unmount(mountpoint);
    await place.ok(['gc']);
    expect(objectsOf(place.root)).toEqual([]);
    expect(readdirSync(join(place.root, 'chains'))).toEqual([]);
    await expectNothingLeft(place);
  });

  test('after a lazy unmount, until the last user is gone', async (context) => {
    needKernelMounts(context);
    const place = await smallPlace();
    const mountpoint = await place.mount('small', ...KERNEL);
    const fd = openSync(join(mountpoint, 'd/file'), 'r');
    const busy = await place.try(['unmount', mountpoint]);
    expect(busy).toMatchObject({ code: 6, stderr: expect.stringContaining('in use') as string });
    await place.ok(['unmount', '--lazy', mountpoint]);
    expect(JSON.parse(await place.ok(['mounts', '--json']))).toEqual([]);
    await place.ok(['rmi', '--force', 'small']);
    await place.ok(['gc']);
    expect(objectsOf(place.root)).not.toEqual([]);
    const buffer = Buffer.alloc(5);
    readSync(fd, buffer);
    expect(buffer.toString()).toBe('lower');
    closeSync(fd);
    await place.ok(['gc']);
    expect(objectsOf(place.root)).toEqual([]);
    await expectNothingLeft(place);
  });

  test('in another mount namespace', async (context) => {
    needKernelMounts(context, 'unshare');
    const place = await smallPlace();
    const mountpoint = await place.mount('small', ...KERNEL, '--name', 'work');
    const elsewhere = spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', 'echo ready; read line'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(elsewhere.stdout, 'data');
    await place.unmount(mountpoint);
    expect(mountsOf(mountpoint)).toEqual([]);
    const { stderr } = await place.try(['mount', '--name', 'work', 'small', mountpoint]);
    expect(stderr).toContain(
      `snapshot work is still in use where it was mounted, ${mountpoint}: in another mount namespace`,
    );
    await place.ok(['rmi', '--force', 'small']);
    await place.ok(['gc']);
    const inside = join(`/proc/${elsewhere.pid}/root`, mountpoint, 'x/b');
    expect(readFileSync(inside, 'utf8')).toBe('b\n');
    elsewhere.stdin.end('\n');
    await once(elsewhere, 'exit');
    await expectNoEntries(place);
    await place.ok(['rm', 'work']);
    await place.ok(['gc']);
    expect(objectsOf(place.root)).toEqual([]);
    await expectNothingLeft(place);
  });

  test('after umount(8), which tells us nothing, also of a snapshot beside another mount of the image', async (context) => {
    needKernelMounts(context);
    const place = await smallPlace();
    const other = await place.mount('small', ...KERNEL);
    const mountpoint = await place.mount('small', ...KERNEL, '--name', 'work');
    await run('umount', [mountpoint]);
    expect(await place.ok(['mounts', '--quiet'])).toBe(`${other}\n`);
    // A container that another test starts may have a copy of the mount for a moment.
    const again = place.newFolder();
    const mount = async (): Promise<unknown> => (await place.try(['mount', '--name', 'work', 'small', again])).code;
    await expect.poll(mount, { timeout: 20_000 }).toBe(0);
    await place.unmount(again);
    await place.ok(['rm', 'work']);
    await run('umount', [other]);
    await place.ok(['gc']);
    await expectNothingLeft(place);
  });

  test('what a mount that was killed on the way left is cleaned', async (context) => {
    needKernelMounts(context);
    const place = await smallPlace();
    const mountpoint = await place.mount('small', ...KERNEL);
    const [info] = JSON.parse(await place.ok(['mounts', '--json'])) as MountInfo[];
    const folder = join(place.root, 'mounts');
    // As one that came as far as mounting the image: entry, image, the image mounted on its folder.
    const [image] = erofsImages(place.root);
    linkSync(image, join(folder, 'dead.erofs'));
    mkdirSync(join(folder, 'dead.lower'));
    mountErofs(join(folder, 'dead.erofs'), join(folder, 'dead.lower'));
    const nowhere = place.newFolder();
    writeFileSync(join(folder, 'dead.json'), JSON.stringify({ ...info, id: 'dead', mountpoint: nowhere }));
    await place.unmount(mountpoint);
    expect(await place.ok(['mounts', '--quiet'])).toBe('');
    await expectNothingLeft(place);
  });
});

describe('what cannot be mounted by the kernel', () => {
  const DEVICE = tarOf({ name: 'dev/', mode: 0o755 }, { name: 'dev/odd', type: '3', major: 0, minor: 0 });

  test('is refused with the path and leaves nothing; auto takes FUSE', async (context) => {
    needKernelMounts(context, 'fuse');
    const place = newPlace();
    writeFileSync(join(place.folder, 'odd.tar'), DEVICE);
    await place.ok(['import', join(place.folder, 'odd.tar'), '--name', 'odd']);
    const mountpoint = place.newFolder();
    const refused = await place.try(['mount', 'odd', mountpoint, ...KERNEL, '--name', 'work']);
    expect(refused).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('/dev/odd: a character device 0:0') as string,
    });
    expect(await place.ok(['snapshots', '--quiet'])).toBe('');
    await expectNothingLeft(place);
    expect(await place.ok(['mount', 'odd', mountpoint, '--mount-mode', 'auto', '-v'])).toMatch(/server {7}process/);
    expect(statSync(join(mountpoint, 'dev/odd')).isCharacterDevice()).toBe(true);
    await place.unmount(mountpoint);
  });

  test('options that need a server', async (context) => {
    needKernelMounts(context);
    const place = await smallPlace();
    for (const option of [['--foreground'], ['--trace', join(place.folder, 'log')], ['--no-passthrough']]) {
      const { code, stderr } = await place.try(['mount', 'small', place.newFolder(), ...KERNEL, ...option]);
      expect({ code, stderr }).toEqual({
        code: 4,
        stderr: expect.stringContaining(`${option[0]} needs a serving`) as string,
      });
    }
  });

  test('a damaged tree makes no image', async (context) => {
    needKernelMounts(context);
    const place = await smallPlace();
    const [chain] = readdirSync(join(place.root, 'chains'));
    const file = join(place.root, 'chains', chain, 'tree');
    const bytes = readFileSync(file);
    bytes[600] ^= 0x40;
    rmSync(file);
    writeFileSync(file, bytes);
    const { code, stderr } = await place.try(['mount', 'small', place.newFolder(), ...KERNEL]);
    expect({ code, stderr }).toEqual({
      code: 4,
      stderr: expect.stringMatching(/chains.*tree: section inodes.*checksum/) as string,
    });
    await expectNothingLeft(place);
  });

  test('a missing object is an error of its files only', async (context) => {
    needKernelMounts(context);
    const place = await smallPlace();
    const mountpoint = await place.mount('small', ...KERNEL);
    const hex = createHash('sha256').update('a\n').digest('hex');
    rmSync(join(place.root, 'objects', hex.slice(0, 2), hex.slice(2)));
    expect(() => readFileSync(join(mountpoint, 'x/a'))).toThrow(/EIO|ENOENT/);
    expect(readFileSync(join(mountpoint, 'x/b'), 'utf8')).toBe('b\n');
    await place.unmount(mountpoint);
  });
});

test('a million entries', { timeout: 600_000 }, async (context) => {
  needKernelMounts(context, 'fsck.erofs');
  const { path } = await needImage(context, 'million');
  const place = newPlace();
  await place.ok(['import', path, '--name', 'million']);
  const mountpoint = await place.mount('million', ...KERNEL);
  const [image] = erofsImages(place.root);
  await checkImage(image);
  const tree = (await place.ok(['tree', 'million'])).trimEnd().split('\n').length;
  const { stdout } = await run('sh', ['-c', `find '${mountpoint}' | wc -l`]);
  expect(Number(stdout)).toBe(tree);
  await place.unmount(mountpoint);
});
