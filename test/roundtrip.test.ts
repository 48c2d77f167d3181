/** What goes in comes out: every blob bit for bit, and after the compressed blobs were dropped the same diffIDs and tree. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test, type TestContext } from 'vitest';
import { openStore } from 'layerfs';
import { judge, report } from './compare/compare.js';
import { snapshot } from './compare/snapshot.js';
import { VARIANTS, type ImageName, type Variant } from './images/index.js';
import { run } from './images/oci.js';
import { Workplace } from './support/mounted.js';
import { need, needImage } from './support/needs.js';
import { umociUnpack } from './support/umoci.js';

const place = new Workplace();
afterAll(() => place.remove());

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}
interface Manifest {
  config: Descriptor;
  layers: Descriptor[];
}

/** An exported or imported layout, every blob of its first image verified against its digest. */
class Exported {
  readonly folder: string;
  readonly manifestDigest: string;
  readonly manifest: Manifest;
  readonly diffIds: string[];

  constructor(folder: string, descriptor?: Descriptor) {
    this.folder = folder;
    const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as { manifests: Descriptor[] };
    this.manifestDigest = (descriptor ?? index.manifests[0]).digest;
    this.manifest = JSON.parse(this.blob(this.manifestDigest).toString('utf8')) as Manifest;
    const config = JSON.parse(this.blob(this.manifest.config.digest).toString('utf8')) as {
      rootfs: { diff_ids: string[] };
    };
    this.diffIds = config.rootfs.diff_ids;
    for (const layer of this.manifest.layers) assert.equal(this.blob(layer.digest).length, layer.size);
  }

  blob(digest: string): Buffer {
    const bytes = readFileSync(join(this.folder, 'blobs', digest.replace(':', '/')));
    assert.equal(`sha256:${createHash('sha256').update(bytes).digest('hex')}`, digest);
    return bytes;
  }
}

async function exported(name: string, ref: string): Promise<Exported> {
  const out = join(place.newFolder(name), 'out');
  await place.ok(['export', ref, out]);
  return new Exported(out);
}

async function expectRoundTrip(context: TestContext, name: ImageName, variant: Variant): Promise<void> {
  const image = await needImage(context, name, variant);
  const ref = `${name}-${variant}`;
  await place.ok(['import', image.path, '--name', ref]);
  const out = await exported(ref, ref);
  expect(out.diffIds).toEqual(image.layers.map((layer) => layer.diffId));
  // A docker archive has no OCI manifest to come back to; all others come back to the last bit.
  if (variant === 'docker-archive') return;
  let original = image.path;
  if (variant === 'oci-archive') {
    original = place.newFolder('archive');
    await run('tar', ['-xf', image.path, '-C', original]);
  }
  assert.equal(out.manifestDigest, new Exported(original).manifestDigest);
}

test.for(VARIANTS.filter((variant) => variant !== 'multi'))(
  'mini, %s: export gives back every blob',
  (variant, context) => expectRoundTrip(context, 'mini', variant),
);
test.for(['oci-gzip', 'oci-zstd', 'oci-archive', 'docker-archive'] as const)(
  'debian, %s: export gives back every blob',
  { timeout: 300_000 },
  (variant, context) => expectRoundTrip(context, 'debian', variant),
);

test.for(['mini', 'debian', 'layers128'] as const)(
  '%s: without the compressed blobs, export gives the same diffIDs',
  async (name, context) => {
    const image = await needImage(context, name);
    const ref = `dropped-${name}`;
    await place.ok(['import', image.path, '--name', ref]);
    const store = await openStore({ root: place.root });
    try {
      await store.dropBlobs();
    } finally {
      await store.close();
    }
    const out = await exported(ref, ref);
    expect(out.diffIds).toEqual(image.layers.map((layer) => layer.diffId));
    for (const [index, layer] of out.manifest.layers.entries()) {
      expect(layer.mediaType).toBe('application/vnd.oci.image.layer.v1.tar');
      // Uncompressed, the blob is the tar itself: its digest is the diffID.
      expect(layer.digest).toBe(image.layers[index].diffId);
      const { tar } = image.layers[index];
      assert(tar === undefined || out.blob(layer.digest).equals(readFileSync(tar)));
    }
  },
);

test('umoci unpacks what was exported, with and without blobs, as it does the original', async (context) => {
  need(context, 'root', 'umoci', 'getfattr');
  const image = await needImage(context, 'mini');
  await place.ok(['import', image.path, '--name', 'for-umoci']);
  const theirs = await umociUnpack(image.path);
  const wanted = await snapshot(theirs.path);
  theirs.remove();
  const out = await exported('for-umoci', 'for-umoci');
  const { stdout } = await run('umoci', ['ls', '--layout', out.folder]);
  const again = await umociUnpack(out.folder, stdout.trim().split('\n')[0]);
  // Times of folders that umoci makes itself are the times of its two runs.
  const { unexplained } = judge(await snapshot(again.path), wanted, [
    {
      reason: 'the time of unpacking',
      matches: ({ field, left, right }) => field === 'mtime' && Number(left) > 1.76e18 && Number(right) > 1.76e18,
    },
  ]);
  again.remove();
  expect(report(unexplained, ['export', 'original'])).toBe('');
});

test('skopeo takes what was exported', async (context) => {
  need(context, 'skopeo');
  const image = await needImage(context, 'mini');
  await place.ok(['import', image.path, '--name', 'for-skopeo']);
  const out = await exported('for-skopeo', 'for-skopeo');
  const target = join(place.folder, 'skopeo.tar');
  await run('skopeo', ['--insecure-policy', 'copy', '-q', `oci:${out.folder}`, `oci-archive:${target}`]);
  await place.ok(['import', target, '--name', 'from-skopeo']);
  expect((await exported('again', 'from-skopeo')).diffIds).toEqual(out.diffIds);
});
