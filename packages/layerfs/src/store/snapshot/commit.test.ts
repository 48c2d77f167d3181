import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { AT_FDCWD, setXattr, utimensat } from '@layerfs/linux';
import { describe, expect, test } from 'vitest';
import { BASE, imageOf, layoutOf, listing, tarOf, two } from '../small-images.test-support.js';
import { storeForEachTest } from '../test-store.test-support.js';

const here = storeForEachTest();

/** A snapshot of an image; what is written into the folder is changed. */
async function upperOf(name = 'work'): Promise<string> {
  await here.store.import(layoutOf(here.fresh(), { latest: two() }), { name: 'app' });
  return (await here.store.createSnapshot('app', { name })).upper;
}

const entriesOf = async (ref: string): Promise<string[]> => {
  const { tree } = await here.store.tree(ref);
  return [...tree.walk()].map(({ path }) => path);
};

describe('a commit', () => {
  test('makes an image of its image and one more layer', async () => {
    const upper = await upperOf();
    mkdirSync(join(upper, 'etc'));
    writeFileSync(join(upper, 'etc/new'), 'new\n');
    linkSync(join(upper, 'etc/new'), join(upper, 'etc/linked'));
    writeFileSync(join(upper, 'big'), Buffer.alloc(3_000_000, 'big'));
    writeFileSync(join(upper, '.wh.same'), '');
    const result = await here.store.commit('work', 'made:1', { message: 'words', author: 'me' });
    expect(result).toMatchObject({ added: 3, changed: 2, deleted: 1, notes: [] });
    expect(result.image).toMatchObject({
      name: 'made:1',
      layers: [{ reused: true }, { reused: true }, { reused: false }],
    });
    expect(await entriesOf('made:1')).toEqual(['also', 'big', 'etc', 'etc/linked', 'etc/motd', 'etc/new', 'link']);
    expect(await here.contentOf('made:1', 'etc/linked')).toBe('new\n');

    const base = here.store.image('app');
    const made = here.store.image('made:1');
    expect(made.layers.slice(0, 2).map(({ digest }) => digest)).toEqual(base.layers.map(({ digest }) => digest));
    expect(made.layers[2]).toMatchObject({
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      blobKept: true,
      createdBy: 'layerfs commit',
    });
    expect(made.config).toMatchObject({
      os: 'linux',
      author: 'me',
      created: expect.stringMatching(/^\d{4}-.*Z$/) as unknown,
      rootfs: { type: 'layers', diff_ids: made.layers.map(({ diffID }) => diffID) },
      history: [{ created_by: 'step 1' }, { created_by: 'step 2' }, { author: 'me', comment: 'words' }],
    });
    expect(made.platform).toBe(base.platform);
    expect(here.store.history('made:1')[0]).toMatchObject({
      createdBy: 'layerfs commit',
      comment: 'words',
      empty: false,
    });
  });

  test('is exported with the blob that was made, and is whole without it', async () => {
    const upper = await upperOf();
    writeFileSync(join(upper, 'new'), 'new\n');
    const { image } = await here.store.commit('work', 'made');
    const out = here.fresh();
    expect(await here.store.export('made', out)).toMatchObject({ digest: image.digest, rebuilt: false });
    await here.store.removeImage('made');
    const again = await here.store.import(out, { name: 'made' });
    expect(again.images[0]).toMatchObject({ digest: image.digest, chainID: image.chainID });
    await here.store.dropBlobs('made');
    const rebuilt = await here.store.export('made', here.fresh());
    expect(rebuilt.rebuilt).toBe(true);
  });

  test('of the same changes has the same layer', async () => {
    const upper = await upperOf();
    writeFileSync(join(upper, 'new'), 'new\n');
    utimesSync(join(upper, 'new'), 5, 5);
    utimesSync(upper, 5, 5);
    const one = await here.store.commit('work', 'one');
    const two = await here.store.commit('work', 'two');
    expect(one.image.layers[2]).toMatchObject({
      diffID: two.image.layers[2].diffID,
      digest: two.image.layers[2].digest,
    });
    expect(two.newObjects).toBe(0);
  });

  test('on top of a Docker image: an OCI manifest with the same layers', async () => {
    const docker = imageOf([BASE], {
      change: (manifest) => {
        Object.assign(manifest, { mediaType: 'application/vnd.docker.distribution.manifest.v2+json' });
        manifest.config.mediaType = 'application/vnd.docker.container.image.v1+json';
        manifest.layers[0].mediaType = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
      },
    });
    await here.store.import(layoutOf(here.fresh(), { latest: docker }), { name: 'docker' });
    const { upper } = await here.store.createSnapshot('docker', { name: 'work' });
    writeFileSync(join(upper, 'new'), 'x');
    await here.store.commit('work', 'made');
    const { manifest } = here.store.image('made');
    expect(manifest.mediaType).toBe('application/vnd.oci.image.manifest.v1+json');
    expect(manifest.layers).toMatchObject([
      { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: docker.layers[0].digest },
      { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' },
    ]);
  });

  test('of a snapshot of what was committed', async () => {
    const upper = await upperOf();
    writeFileSync(join(upper, 'first'), '1');
    await here.store.commit('work', 'one');
    const next = await here.store.createSnapshot('one', { name: 'next' });
    writeFileSync(join(next.upper, 'second'), '2');
    writeFileSync(join(next.upper, '.wh.first'), '');
    await here.store.commit('next', 'two');
    expect(await entriesOf('two')).toEqual(['also', 'etc', 'etc/motd', 'link', 'same', 'second']);
    expect(here.store.image('two').layers).toHaveLength(4);
  });

  test('with the name of its own image: that goes on without a name', async () => {
    const upper = await upperOf();
    writeFileSync(join(upper, 'new'), 'x');
    const before = here.store.image('app').digest;
    await here.store.commit('work', 'app');
    expect(here.store.image('app').digest).not.toBe(before);
    expect(here.store.image(before).names).toEqual([]);
    expect(here.store.snapshot('work').image).toBe(before);
  });

  test('keeps what is odd', async () => {
    const upper = await upperOf();
    const odd = Buffer.concat([Buffer.from(`${upper}/`), Buffer.from('\xff\xfe\n', 'latin1')]);
    writeFileSync(odd, 'bytes');
    const long = join(upper, 'l'.repeat(200), 'm'.repeat(200));
    mkdirSync(long, { recursive: true });
    symlinkSync('t'.repeat(300), join(long, 'link'));
    writeFileSync(join(upper, 'x'), '');
    setXattr(join(upper, 'x'), 'user.bytes', Uint8Array.from([0, 255, 10, 61]));
    setXattr(join(upper, 'x'), 'user.a=b%', Uint8Array.from([1]));
    setXattr(join(upper, 'x'), 'user.overlay.origin', Uint8Array.from([1]));
    chmodSync(join(upper, 'x'), 0o6711);
    utimensat(AT_FDCWD, join(upper, 'x'), { sec: 5, nsec: 0 }, { sec: -4, nsec: 750_000_000 });
    const socket = createServer().listen(join(upper, 'socket'));
    await new Promise((resolve) => socket.once('listening', resolve));
    const { notes } = await here.store.commit('work', 'made');
    socket.close();
    expect(notes).toEqual(['socket socket left out: a socket has no meaning without its server']);
    const { tree } = await here.store.tree('made');
    expect(tree.resolve('\xff\xfe\n')).not.toBe(0);
    expect(tree.symlinkTarget(tree.resolve(`${'l'.repeat(200)}/${'m'.repeat(200)}/link`))).toBe('t'.repeat(300));
    const x = tree.resolve('x');
    expect(tree.xattrs(x).map(([name, value]) => [name, [...value]])).toEqual([
      ['user.a=b%', [1]],
      ['user.bytes', [0, 255, 10, 61]],
    ]);
    expect([tree.mode(x) & 0o7777, tree.mtimeSec(x), tree.mtimeNsec(x)]).toEqual([0o6711, -4, 750_000_000]);
    expect(tree.resolve('socket')).toBe(0);
  });
});

const UNCHANGED: [string, string, (upper: string) => void] = [
  'nothing was changed',
  'failed-precondition',
  () => undefined,
];

describe('a refused commit leaves nothing', () => {
  test.each<[string, string, (upper: string) => void]>([
    // Without root the upper folder has another owner than the image's root, and so has changed.
    ...(process.geteuid?.() === 0 ? [UNCHANGED] : []),
    [
      'a redirect out of the lower',
      'corrupt',
      (upper) => {
        mkdirSync(join(upper, 'e'));
        setXattr(join(upper, 'e'), 'user.overlay.redirect', Buffer.from('/../../etc'));
      },
    ],
    [
      'a metacopy of nothing',
      'corrupt',
      (upper) => {
        writeFileSync(join(upper, 'e'), Buffer.alloc(2_000_000));
        writeFileSync(join(upper, 'z'), 'x');
        setXattr(join(upper, 'z'), 'user.overlay.metacopy', new Uint8Array());
      },
    ],
    [
      'the upper folder is a link to elsewhere',
      'unavailable',
      (upper) => {
        rmSync(upper, { recursive: true });
        const elsewhere = here.fresh();
        mkdirSync(elsewhere);
        symlinkSync(elsewhere, upper);
      },
    ],
  ])('%s', async (_, code, spoil) => {
    const upper = await upperOf();
    const before = listing(here.root).filter((path) => !path.startsWith('snapshots/'));
    spoil(upper);
    await expect(here.store.commit('work', 'made')).rejects.toMatchObject({ code });
    expect(listing(here.root).filter((path) => !path.startsWith('snapshots/'))).toEqual(before);
    expect(here.store.images().map(({ name }) => name)).toEqual(['app:latest']);
  });

  test('the content of a renamed folder is damaged in the store', async () => {
    const upper = await upperOf();
    mkdirSync(join(upper, 'moved'));
    setXattr(join(upper, 'moved'), 'user.overlay.redirect', Buffer.from('/etc'));
    const { tree } = await here.store.tree('app');
    const object = here.store.paths.object(tree.objectDigest(tree.resolve('etc/motd')) ?? '');
    chmodSync(object, 0o600);
    writeFileSync(object, 'bad\n');
    await expect(here.store.commit('work', 'made')).rejects.toThrow(/does not match its digest/);
    rmSync(object);
    await expect(here.store.commit('work', 'made')).rejects.toThrow(/motd, is missing/);
  });

  test('links in an upper are kept as links, and never followed', async () => {
    const upper = await upperOf();
    writeFileSync(join(here.work, 'secret'), 'secret');
    symlinkSync(join(here.work, 'secret'), join(upper, 'file'));
    symlinkSync(here.work, join(upper, 'folder'));
    await here.store.commit('work', 'made');
    const { tree } = await here.store.tree('made');
    expect(tree.symlinkTarget(tree.resolve('folder'))).toBe(here.work);
    const { diffID } = here.store.image('made').layers[2];
    expect(readFileSync(join(here.store.paths.layer(diffID), 'objects')).length).toBe(16);
  });

  test('names', async () => {
    await upperOf();
    await expect(here.store.commit('work', 'Bad Name')).rejects.toMatchObject({ code: 'invalid-argument' });
    await expect(here.store.commit('none', 'made')).rejects.toMatchObject({ code: 'not-found' });
    expect(readdirSync(join(here.root, 'ingest'))).toEqual([]);
  });
});

describe('freezing', () => {
  test('lasts as long as the upper is read', async () => {
    const upper = await upperOf();
    writeFileSync(join(upper, 'file'), 'x');
    const order: string[] = [];
    const freeze = async (): Promise<() => Promise<void>> => {
      await Promise.resolve();
      order.push(`frozen, ${here.store.images().length} image`);
      return async () => {
        await Promise.resolve();
        order.push(`thawed, ${here.store.images().length} image`);
      };
    };
    await here.store.commit('work', 'made', { freeze });
    await here.store.diff('work', undefined, { freeze });
    expect(order).toEqual(['frozen, 1 image', 'thawed, 1 image', 'frozen, 2 image', 'thawed, 2 image']);
  });

  test('ends with a failure and an interruption, too', async () => {
    const upper = await upperOf();
    let frozen = 0;
    const freeze = (): Promise<() => Promise<void>> => {
      frozen++;
      return Promise.resolve(() => Promise.resolve(void frozen--));
    };
    writeFileSync(join(upper, 'a'), Buffer.alloc(20_000_000, 'a'));
    const interrupt = new AbortController();
    const onProgress = (): void => interrupt.abort();
    await expect(
      here.store.commit('work', 'made', { freeze, onProgress, signal: interrupt.signal }),
    ).rejects.toMatchObject({ code: 'aborted' });
    expect(frozen).toBe(0);
    writeFileSync(join(upper, 'z'), 'x');
    setXattr(join(upper, 'z'), 'user.overlay.metacopy', new Uint8Array());
    await expect(here.store.commit('work', 'made', { freeze })).rejects.toMatchObject({ code: 'corrupt' });
    await expect(here.store.diff('work', undefined, { freeze })).rejects.toMatchObject({ code: 'corrupt' });
    expect(frozen).toBe(0);
    expect(lstatSync(join(here.root, 'ingest')).isDirectory()).toBe(true);
    expect(readdirSync(join(here.root, 'ingest'))).toEqual([]);
  });
});

test('a layer that has every entry of the folders on its way', async () => {
  await here.store.import(
    here.file(tarOf({ path: 'a/', mode: 0o700 }, { path: 'a/b/', mode: 0o711 }, { path: 'c/' })),
    {
      name: 'deep',
    },
  );
  const { upper } = await here.store.createSnapshot('deep', { name: 'work' });
  for (const folder of ['a', 'a/b', 'c']) mkdirSync(join(upper, folder));
  for (const [folder, mode] of [
    ['a', 0o700],
    ['a/b', 0o711],
    ['c', 0o755],
  ] as const)
    chmodSync(join(upper, folder), mode);
  writeFileSync(join(upper, 'a/b/new'), 'x');
  for (const folder of ['a/b', 'a', 'c']) utimesSync(join(upper, folder), 1_700_000_000, 1_700_000_000);
  await here.store.commit('work', 'made');
  const [, top] = await here.store.layerTrees('made');
  const { uid } = lstatSync(upper);
  // Without root the owners differ from the image's, and all of them have changed.
  const others = uid === 0 ? [] : ['c'];
  expect([...top.tree.walk()].map(({ path }) => path)).toEqual(['a', 'a/b', 'a/b/new', ...others]);
});
