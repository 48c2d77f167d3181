import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { ImportOptions } from '../import/progress.js';
import {
  BASE,
  TOP,
  two,
  digestOf,
  imageOf,
  layoutOf,
  listing,
  tarOf,
  type SmallImage,
} from '../small-images.test-support.js';
import { storeForEachTest } from '../test-store.test-support.js';

const here = storeForEachTest();

const spoil = (image: SmallImage, change: (folder: string, blob: string) => void): string => {
  const folder = layoutOf(here.fresh(), { latest: image });
  change(folder, join(folder, 'blobs', image.layers[1].digest.replace(':', '/')));
  return folder;
};
const flip = (path: string, at: number): void => {
  const bytes = readFileSync(path);
  bytes[at] ^= 0xff;
  writeFileSync(path, bytes);
};
describe('a bad image is refused, and nothing of it stays', () => {
  const cases: [
    what: string,
    make: () => string,
    expected: { code: string; message?: RegExp },
    options?: ImportOptions,
  ][] = [
    ['a damaged blob', () => spoil(two(), (_, blob) => flip(blob, 40)), { code: 'corrupt', message: /sha256|digest/ }],
    ['a truncated blob', () => spoil(two(), (_, blob) => truncateSync(blob, 50)), { code: 'corrupt', message: /size/ }],
    [
      'a missing blob',
      () => spoil(two(), (_, blob) => rmSync(blob)),
      { code: 'not-found', message: /manifest sha256/ },
    ],
    [
      'a wrong diffID',
      () =>
        layoutOf(here.fresh(), {
          latest: imageOf([BASE, TOP], {
            config: { rootfs: { type: 'layers', diff_ids: [digestOf(BASE), digestOf(BASE)] } },
          }),
        }),
      { code: 'corrupt', message: /diffID/ },
    ],
    [
      'too few diffIDs',
      () =>
        layoutOf(here.fresh(), {
          latest: imageOf([BASE, TOP], { config: { rootfs: { type: 'layers', diff_ids: [digestOf(BASE)] } } }),
        }),
      { code: 'invalid-argument', message: /diff_ids/ },
    ],
    [
      'an unknown media type',
      () =>
        layoutOf(here.fresh(), {
          latest: imageOf([BASE], { change: (m) => (m.layers[0].mediaType = 'application/x-tape') }),
        }),
      { code: 'unimplemented', message: /x-tape/ },
    ],
    ['a truncated gzip', () => here.file(gzipSync(BASE).subarray(0, 100), 'x.tar.gz'), { code: 'corrupt' }],
    ['a truncated tar', () => here.file(BASE.subarray(0, 1100)), { code: 'corrupt' }],
    [
      'a layer beyond the limit',
      () => here.file(tarOf({ path: 'big', data: Buffer.alloc(1 << 20) })),
      { code: 'resource-exhausted' },
      { maxLayerSize: 1 << 16 },
    ],
    [
      'text',
      () => here.file(Buffer.from('no image, '.repeat(100)), 'text'),
      { code: 'invalid-argument', message: /not an image/ },
    ],
    ['nothing', () => join(here.work, 'nothing'), { code: 'not-found' }],
    [
      'a hardlink to nowhere',
      () => here.file(tarOf({ path: 'x', type: '1', linkname: 'no/where' })),
      { code: 'invalid-argument', message: /no\/where/ },
    ],
    ['a name that is none', () => here.file(BASE), { code: 'invalid-argument', message: /Upper/ }, { name: 'Upper' }],
  ];
  test.each(cases)('%s', async (_, make, { code, message }, options = {}) => {
    await here.store.import(here.file(tarOf({ path: 'good', data: 'good' })), { name: 'good' });
    const before = [listing(here.root), here.store.images()];
    const importing = here.store.import(make(), { name: 'bad', ...options });
    await expect(importing).rejects.toMatchObject({ name: 'LayerfsError', code });
    if (message !== undefined) await expect(importing).rejects.toThrow(message);
    expect([listing(here.root), here.store.images()]).toEqual(before);
  });

  test('an import that is interrupted', async () => {
    const before = listing(here.root);
    const controller = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield BASE.subarray(0, BASE.length - 1024);
      for (let i = 0; ; i++) {
        if (i === 20) controller.abort();
        yield tarOf({ path: `file-${i}`, data: 'x'.repeat(5000 + i) }).subarray(0, -1024);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await expect(here.store.import(endless(), { name: 'x', signal: controller.signal })).rejects.toMatchObject({
      code: 'aborted',
    });
    expect(listing(here.root)).toEqual(before);
  });
});
