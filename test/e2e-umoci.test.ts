/**
 * Each test image, mounted and checked out, equals what umoci unpacks from it: every path, type, mode, owner, size,
 * time, link target, hardlink group, xattr, device number and content. What may differ is listed in support/umoci.ts.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test, type TestContext } from 'vitest';
import { compareFolders, judge, report, type Excuse } from './compare/compare.js';
import { snapshot, type Snapshot } from './compare/snapshot.js';
import { VARIANTS, type ImageName, type Variant } from './images/index.js';
import { run } from './images/oci.js';
import { umociRefuses } from './images/odd-lower.js';
import { tarOf } from './images/tar.js';
import { Workplace } from './support/mounted.js';
import { need, needImage } from './support/needs.js';
import { UMOCI_EXCUSES, umociUnpack } from './support/umoci.js';

const place = new Workplace();
const unpacked = new Map<string, Promise<Snapshot>>();
afterAll(() => place.remove());

/** umoci's tree of an image, read once. Variants differ in packing only, so they share it. */
function umociTree(name: ImageName, layout: string, tag = 'latest'): Promise<Snapshot> {
  const key = `${name}:${tag}`;
  const known = unpacked.get(key);
  if (known !== undefined) return known;
  const reading = (async () => {
    const tree = await umociUnpack(layout, tag);
    try {
      return await snapshot(tree.path);
    } finally {
      tree.remove();
    }
  })();
  unpacked.set(key, reading);
  return reading;
}

function expectEqual(ours: Snapshot, theirs: Snapshot, excuses: Excuse[], who: string): void {
  const { unexplained, excused } = judge(ours, theirs, excuses);
  expect(report(unexplained, ['layerfs', who])).toBe('');
  // An excuse that is no longer needed would hide the next real difference.
  for (const [reason, count] of excused) expect(count, `excuse never used: ${reason}`).toBeGreaterThan(0);
  expect(ours.size).toBe(theirs.size);
}

async function expectMountEqualsUmoci(context: TestContext, name: ImageName, variant: Variant): Promise<void> {
  need(context, 'root', 'fuse', 'umoci', 'getfattr');
  const image = await needImage(context, name, variant);
  const { path: layout } = await needImage(context, name, 'oci-gzip');
  const theirs = await umociTree(name, layout);
  // A store of its own for each variant: nothing comes from an earlier import.
  const own = new Workplace({ disk: variant === 'oci-gzip' });
  try {
    const source = variant === 'multi' ? `${image.path}:latest` : image.path;
    await own.ok(['import', source, '--name', 'image']);
    const mountpoint = await own.mount('image');
    expectEqual(await snapshot(mountpoint), theirs, UMOCI_EXCUSES, 'umoci');
    await own.unmount(mountpoint);
  } finally {
    await own.remove();
  }
}

test.for(VARIANTS)('mini, %s: the mount equals umoci unpack', (variant, context) =>
  expectMountEqualsUmoci(context, 'mini', variant),
);
test.for(VARIANTS)('debian, %s: the mount equals umoci unpack', { timeout: 300_000 }, (variant, context) =>
  expectMountEqualsUmoci(context, 'debian', variant),
);

test('128 layers: the mount equals umoci unpack', async (context) => {
  need(context, 'root', 'fuse', 'umoci', 'getfattr');
  const { path } = await needImage(context, 'layers128');
  await place.ok(['import', path, '--name', 'many']);
  const mountpoint = await place.mount('many');
  expectEqual(await snapshot(mountpoint), await umociTree('layers128', path), [], 'umoci');
  await place.unmount(mountpoint);
});

test('the same by passthrough', async (context) => {
  need(context, 'root', 'fuse', 'umoci', 'getfattr');
  const { path } = await needImage(context, 'mini');
  await place.ok(['import', path, '--name', 'mini']);
  const mountpoint = await place.mount('mini', '--passthrough');
  expectEqual(await snapshot(mountpoint), await umociTree('mini', path), UMOCI_EXCUSES, 'umoci');
  await place.unmount(mountpoint);
});

test('checkout writes what umoci unpacks', async (context) => {
  need(context, 'root', 'umoci', 'getfattr');
  const { path } = await needImage(context, 'mini');
  await place.ok(['import', path, '--name', 'mini']);
  const folder = join(place.folder, 'checkout');
  await place.ok(['checkout', 'mini', folder]);
  expectEqual(await snapshot(folder), await umociTree('mini', path), UMOCI_EXCUSES, 'umoci');
});

test('the other platform and the other image of a layout', async (context) => {
  need(context, 'root', 'fuse', 'umoci', 'getfattr');
  const { path, layers } = await needImage(context, 'mini', 'multi');
  await place.ok(['import', `${path}:base`, '--name', 'base']);
  const base = await place.mount('base');
  expectEqual(await snapshot(base), await umociTree('mini', path, 'base'), [], 'umoci');
  await place.unmount(base);
  const other = process.arch === 'arm64' ? 'linux/amd64' : 'linux/arm64';
  await place.ok(['import', `${path}:latest`, '--platform', other, '--name', 'other']);
  const inspected = await place.ok(['inspect', '--json', 'other']);
  expect(inspected).toContain(layers[1].diffId);
  expect(inspected).not.toContain(layers[2].diffId);
});

test('GNU sparse files, global PAX headers and contiguous files equal what GNU tar extracts', async (context) => {
  need(context, 'root', 'fuse', 'tar', 'getfattr');
  const tar = join(place.folder, 'gnu.tar');
  writeFileSync(tar, tarOf({ name: './', mode: 0o755, mtime: 1000 }, ...umociRefuses()));
  const extracted = place.newFolder('extracted');
  await run('tar', ['-xpf', tar, '--numeric-owner', '--xattrs', '--xattrs-include=*', '-C', extracted]);
  await place.ok(['import', tar, '--name', 'gnu']);
  const mountpoint = await place.mount('gnu');
  const { unexplained } = await compareFolders(mountpoint, extracted);
  expect(report(unexplained, ['layerfs', 'tar'])).toBe('');
  await place.unmount(mountpoint);
});
