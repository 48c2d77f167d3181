import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BASE, TOP, two, digestOf, imageOf, layoutOf, tarOf } from '../small-images.test-support.js';
import { storeForEachTest } from '../test-store.test-support.js';

const here = storeForEachTest();

const importedBlobs = (folder: string): string[] => readdirSync(join(folder, 'blobs/sha256')).toSorted();

describe('export', () => {
  test('gives back every blob, as folder and as archive', async () => {
    const image = two();
    const layout = layoutOf(here.fresh(), { latest: image });
    await here.store.import(layout, { name: 'app' });
    const out = here.fresh();
    expect(await here.store.export('app', out)).toMatchObject({ digest: image.manifest.digest, rebuilt: false });
    expect(importedBlobs(out)).toEqual(importedBlobs(layout));
    for (const name of importedBlobs(out)) {
      expect(
        readFileSync(join(out, 'blobs/sha256', name)).equals(readFileSync(join(layout, 'blobs/sha256', name))),
      ).toBe(true);
    }
    const archive = `${here.fresh()}.tar`;
    await here.store.export('app', archive);
    const { images } = await here.store.import(archive);
    expect(images).toMatchObject([{ name: 'app:latest', digest: image.manifest.digest }]);
    await expect(here.store.export('app', out)).rejects.toMatchObject({ code: 'already-exists' });
    await expect(here.store.export('app', archive)).rejects.toMatchObject({ code: 'already-exists' });
  });

  test('after the blobs were dropped: the same tars in a manifest that says so', async () => {
    const image = two();
    await here.store.import(layoutOf(here.fresh(), { latest: image }), { name: 'app' });
    expect(await here.store.dropBlobs('app')).toMatchObject({ blobs: 2 });
    const out = here.fresh();
    const { rebuilt, digest } = await here.store.export('app', out);
    expect(rebuilt).toBe(true);
    const read = (d: string): Buffer => readFileSync(join(out, 'blobs', d.replace(':', '/')));
    expect(read(digestOf(BASE)).equals(BASE)).toBe(true);
    expect(read(digestOf(TOP)).equals(TOP)).toBe(true);
    expect(JSON.parse(read(digest).toString())).toMatchObject({
      annotations: { 'io.layerfs.image.rebuilt-from': image.manifest.digest },
      layers: [{ digest: digestOf(BASE) }, { digest: digestOf(TOP) }],
    });
    expect((await here.store.import(out, { name: 'again' })).images[0].chainID).toBe(here.store.image('app').chainID);
  });

  test('plain layers come back under their manifest, though their blobs are not kept', async () => {
    const image = imageOf([BASE, TOP], { plain: true });
    await here.store.import(layoutOf(here.fresh(), { latest: image }), { name: 'app' });
    expect(await here.store.dropBlobs()).toMatchObject({ blobs: 0 });
    expect(await here.store.export('app', here.fresh())).toMatchObject({
      digest: image.manifest.digest,
      rebuilt: false,
    });
  });

  test('a damaged object is noticed, and nothing is left', async () => {
    await here.store.import(here.file(BASE), { name: 'app' });
    const hex = digestOf(Buffer.from('hello\n')).slice(7);
    rmSync(here.store.paths.object(hex));
    writeFileSync(here.store.paths.object(hex), 'HELLO\n');
    const out = here.fresh();
    await expect(here.store.export('app', out)).rejects.toMatchObject({ code: 'corrupt' });
    expect(existsSync(out)).toBe(false);
  });
});

test('a checkout keeps what it can, and goes into nothing that is not empty', async () => {
  const sparse = Buffer.alloc(3 << 20);
  sparse.write('end', sparse.length - 3);
  await here.store.import(
    here.file(
      tarOf(
        { path: 'd/', mode: 0o750, mtimeSec: 1000, mtimeNsec: 5 },
        { path: 'd/file', mode: 0o4755, data: 'content', mtimeSec: 2000, pax: [['SCHILY.xattr.user.k', 'v']] },
        { path: 'd/hard', type: '1', linkname: 'd/file' },
        { path: 'holes', data: sparse },
        { path: 'fifo', type: '6' },
        { path: 'n\xff', data: '' },
      ),
    ),
    { name: 'app' },
  );
  const out = here.fresh();
  const result = await here.store.checkout('app', out);
  expect(result.entries).toBe(6);
  const stats = statSync(join(out, 'd/file'));
  expect([stats.nlink, stats.ino, stats.mtimeMs]).toEqual([2, statSync(join(out, 'd/hard')).ino, 2_000_000]);
  expect(statSync(join(out, 'd')).mode & 0o7777).toBe(0o750);
  expect(statSync(join(out, 'd'), { bigint: true }).mtimeNs).toBe(1_000_000_000_005n);
  expect(readFileSync(join(out, 'holes')).equals(sparse)).toBe(true);
  expect(statSync(join(out, 'holes')).blocks * 512).toBeLessThan(sparse.length);
  expect(readdirSync(out, 'buffer').map((name) => name.toString('latin1'))).toContain('n\xff');
  if (process.getuid?.() === 0) expect(stats.mode & 0o7777).toBe(0o4755);
  else expect(result.notes.join()).toMatch(/set-user-ID/);
  await expect(here.store.checkout('app', out)).rejects.toMatchObject({ code: 'already-exists' });
});
