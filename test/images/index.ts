/**
 * The real test images, built once and kept (see cache.ts): `testImage('debian', 'oci-gzip')`.
 * What cannot be built here throws ImageUnavailable, whose message is the reason with which a test skips itself.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { cached } from './cache.js';
import { debianBase, debianChanges, debianPackages, needProgram } from './debian.js';
import { miniChanges, miniRoot } from './mini.js';
import { Layout, MEDIA_TYPES, machine, run, writeDockerArchive, type Compression, type LayerInfo } from './oci.js';
import { oddLower, type Piece } from './odd-lower.js';
import { oddUpper } from './odd-upper.js';
import { SYNTHETIC } from './synthetic.js';
import { tarEntry, tarOf } from './tar.js';

export { BROKEN_PACKAGE, debianRepository, ImageUnavailable, NEW_PACKAGES } from './debian.js';

export const IMAGE_NAMES = ['mini', 'debian', 'layers128', 'million', 'bigfile', 'bench'] as const;
export type ImageName = (typeof IMAGE_NAMES)[number];
export const VARIANTS = ['oci-gzip', 'oci-zstd', 'oci-plain', 'oci-archive', 'docker-archive', 'multi'] as const;
export type Variant = (typeof VARIANTS)[number];

export interface TestImage {
  name: ImageName;
  variant: Variant;
  /** A folder for OCI layouts, a tar file for the two archive kinds. */
  path: string;
  /** Tag within the layout or archive. */
  reference: string;
  layers: { diffId: string; /** The uncompressed tar, for `mini` and `debian`. */ tar?: string }[];
}

export interface BuildOptions {
  /** Receives one line before each longer step. */
  say?: (text: string) => void;
}

type Say = (text: string) => void;

function smallTar(relative: string, pieces: () => Promise<Piece[]> | Piece[]): Promise<string> {
  return cached(relative, async (path) => writeFile(path, tarOf(...(await pieces()))));
}

/** The uncompressed layer tars of the two real images, lowest first. */
async function layerTars(name: 'mini' | 'debian', say: Say): Promise<string[]> {
  if (name === 'mini') {
    return [
      await smallTar('mini/layers/1.tar', miniRoot),
      await smallTar('mini/layers/2.tar', oddLower),
      await smallTar('mini/layers/3.tar', () => [...oddUpper(), ...miniChanges()]),
    ];
  }
  const base = await debianBase(say);
  return [
    base,
    await debianPackages(base, say),
    await smallTar('debian/layers/3.tar', oddLower),
    await smallTar('debian/layers/4.tar', () => [...oddUpper(), ...debianChanges()]),
  ];
}

async function buildLayout(name: ImageName, compression: Compression, path: string, say: Say): Promise<void> {
  if (compression === 'zstd') needProgram('zstd');
  const layout = await Layout.create(path);
  const layers: LayerInfo[] = [];
  if (name === 'mini' || name === 'debian') {
    for (const tar of await layerTars(name, say))
      layers.push(await layout.addLayer(createReadStream(tar), compression));
  } else {
    for (const open of SYNTHETIC[name]) layers.push(await layout.addLayer(open(), compression, 1));
  }
  layout.tag(await layout.addImage(layers, machine()), 'latest');
  await layout.finish();
}

/** Two platforms under one tag, and a second image, in one layout. */
async function buildMulti(name: 'mini' | 'debian', path: string, say: Say): Promise<void> {
  const layout = await Layout.create(path);
  const layers: LayerInfo[] = [];
  for (const tar of await layerTars(name, say)) layers.push(await layout.addLayer(createReadStream(tar), 'gzip'));
  const mine = machine();
  const other =
    mine.architecture === 'arm64'
      ? { os: 'linux', architecture: 'amd64' }
      : { os: 'linux', architecture: 'arm64', variant: 'v8' };
  const manifests = [
    { ...(await layout.addImage(layers.slice(0, -1), other)), platform: other },
    { ...(await layout.addImage(layers, mine)), platform: mine },
  ];
  layout.tag(
    await layout.addJson(MEDIA_TYPES.index, { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests }),
    'latest',
  );
  layout.tag(await layout.addImage(layers.slice(0, 1), mine), 'base');
  await layout.finish();
}

/** A folder as a tar, files in the order of their names. */
async function tarFolder(folder: string, path: string): Promise<void> {
  const names = (await readdir(folder, { recursive: true })).toSorted();
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (const name of names) {
      const info = await stat(join(folder, name));
      yield* tarEntry(info.isDirectory() ? { name: `${name}/`, mode: 0o755 } : { name, size: info.size });
      if (info.isDirectory()) continue;
      yield* createReadStream(join(folder, name)) as AsyncIterable<Uint8Array>;
      yield new Uint8Array((512 - (info.size % 512)) % 512);
    }
    yield new Uint8Array(1024);
  }
  await pipeline(bytes, createWriteStream(path));
}

const blob = (digest: string): string => `blobs/${digest.replace(':', '/')}`;

async function diffIdsOf(layout: string): Promise<string[]> {
  const read = async (path: string): Promise<unknown> => JSON.parse(await readFile(join(layout, path), 'utf8'));
  const index = (await read('index.json')) as { manifests: { digest: string }[] };
  const manifest = (await read(blob(index.manifests[0].digest))) as { config: { digest: string } };
  const config = (await read(blob(manifest.config.digest))) as { rootfs: { diff_ids: string[] } };
  return config.rootfs.diff_ids;
}

/** Archives of `mini` are written here, those of `debian` by skopeo: so readers meet two writers' habits. */
async function buildArchive(
  name: 'mini' | 'debian',
  variant: 'oci-archive' | 'docker-archive',
  path: string,
  say: Say,
): Promise<void> {
  const layout = (await testImage(name, 'oci-gzip', { say })).path;
  if (name === 'debian') {
    needProgram('skopeo');
    const tag = variant === 'docker-archive' ? `layerfs-test/${name}:latest` : 'latest';
    await run('skopeo', ['--insecure-policy', 'copy', '-q', `oci:${layout}:latest`, `${variant}:${path}:${tag}`]);
  } else if (variant === 'oci-archive') {
    await tarFolder(layout, path);
  } else {
    const diffIds = await diffIdsOf(layout);
    const tars = (await layerTars(name, say)).map((tar, index) => ({ path: tar, diffId: diffIds[index] }));
    await writeDockerArchive(path, tars, `layerfs-test/${name}:latest`);
  }
}

async function build(name: ImageName, variant: Variant, path: string, say: Say): Promise<void> {
  say(`${name}: building ${variant}`);
  if (variant === 'oci-gzip') return buildLayout(name, 'gzip', path, say);
  if (name !== 'mini' && name !== 'debian') throw new Error(`${name} exists as oci-gzip only`);
  switch (variant) {
    case 'oci-zstd':
      return buildLayout(name, 'zstd', path, say);
    case 'oci-plain':
      return buildLayout(name, 'plain', path, say);
    case 'multi':
      return buildMulti(name, path, say);
    case 'oci-archive':
    case 'docker-archive':
      return buildArchive(name, variant, path, say);
  }
}

/** The image in the asked form, built if it is not in the cache yet. */
export async function testImage(
  name: ImageName,
  variant: Variant = 'oci-gzip',
  options: BuildOptions = {},
): Promise<TestImage> {
  const say = options.say ?? (() => undefined);
  const path = await cached(`${name}/${variant}${variant.endsWith('-archive') ? '.tar' : ''}`, (temporary) =>
    build(name, variant, temporary, say),
  );
  const layout = variant === 'oci-gzip' ? path : (await testImage(name, 'oci-gzip', options)).path;
  const diffIds = await diffIdsOf(layout);
  const tars = name === 'mini' || name === 'debian' ? await layerTars(name, say) : [];
  const layers = diffIds.map((diffId, index) =>
    tars[index] === undefined ? { diffId } : { diffId, tar: tars[index] },
  );
  const reference = variant === 'docker-archive' ? `layerfs-test/${name}:latest` : 'latest';
  return { name, variant, path, reference, layers };
}
