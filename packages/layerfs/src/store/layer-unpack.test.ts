import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadXxhash } from './hash.js';
import type { Inflated } from './inflate/inflate.js';
import { unpackLayer } from './layer-unpack.js';
import type { ObjectWriter } from './objects.js';
import { BASE } from './small-images.test-support.js';

test('what went wrong in the thread that writes objects is what is told', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'layerfs-unpack-'));
  const full = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  const objects = {
    add: () => undefined,
    drain: () => Promise.resolve(),
    flush: () => Promise.reject(full),
  } as unknown as ObjectWriter;
  async function* tar(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(BASE);
  }
  try {
    const unpacked = unpackLayer(tar() as unknown as Inflated, folder, objects, await loadXxhash());
    await expect(unpacked).rejects.toBe(full);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
