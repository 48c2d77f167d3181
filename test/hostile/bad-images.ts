/** Images that must be refused: archives and layouts with something wrong around the layers. */
import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { imageConfig, Layout, machine, MEDIA_TYPES, sha256, type Descriptor, type LayerInfo } from '../images/oci.js';
import { tarOf } from '../images/tar.js';

export interface BadImage {
  what: string;
  /** Makes the image in an empty folder and gives the path to import. */
  make: (folder: string) => Promise<string>;
  says: RegExp;
  /** Options of the import. */
  maxLayerSize?: number;
}

const TAR = tarOf(
  { name: 'etc/', mode: 0o755 },
  { name: 'etc/motd', data: 'hello\n' },
  { name: 'data', data: Buffer.alloc(100_000, 'layer ') },
);

/** A sound layout with one layer, and its parts to spoil. */
export async function soundLayout(
  folder: string,
  tar: Uint8Array = TAR,
): Promise<{ path: string; layout: Layout; layer: LayerInfo; manifest: Descriptor }> {
  const path = join(folder, 'layout');
  const layout = await Layout.create(path);
  const layer = await layout.addLayer(Readable.from([tar]), 'gzip');
  const manifest = await layout.addImage([layer], machine());
  layout.tag(manifest, 'latest');
  await layout.finish();
  return { path, layout, layer, manifest };
}

/** A layout whose manifest is what `change` makes of the sound one. */
async function withManifest(folder: string, change: (manifest: Manifest, layout: Layout) => unknown): Promise<string> {
  const { path, layout, manifest } = await soundLayout(folder);
  const parsed = JSON.parse(await readFile(layout.blobPath(manifest.digest), 'utf8')) as Manifest;
  const changed = new Layout(path);
  const value = (await change(parsed, layout)) ?? parsed;
  changed.tag(
    await layout.addBytes(MEDIA_TYPES.manifest, Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))),
    'latest',
  );
  await changed.finish();
  return path;
}

interface Manifest {
  schemaVersion: unknown;
  mediaType?: string;
  config: Descriptor;
  layers: Descriptor[];
}

const spoil = (
  what: string,
  says: RegExp,
  change: (sound: Awaited<ReturnType<typeof soundLayout>>) => Promise<unknown>,
): BadImage => ({
  what,
  says,
  make: async (folder) => {
    const sound = await soundLayout(folder);
    await change(sound);
    return sound.path;
  },
});

const manifest = (what: string, says: RegExp, change: (manifest: Manifest, layout: Layout) => unknown): BadImage => ({
  what,
  says,
  make: (folder) => withManifest(folder, change),
});

const bytes = (what: string, says: RegExp, content: () => Uint8Array, maxLayerSize?: number): BadImage => ({
  what,
  says,
  ...(maxLayerSize === undefined ? {} : { maxLayerSize }),
  make: async (folder) => {
    const path = join(folder, 'input');
    await writeFile(path, content());
    return path;
  },
});

async function flipByte(path: string, at: number): Promise<void> {
  const content = await readFile(path);
  content[at] = (content[at] ?? 0) ^ 0xff;
  await writeFile(path, content);
}

async function configOf(layout: Layout, diffIds: string[], more: object = {}): Promise<Descriptor> {
  return layout.addJson(MEDIA_TYPES.config, { ...(imageConfig(diffIds, machine()) as object), ...more });
}

const WRONG = `sha256:${'1'.repeat(64)}`;

export const BAD_IMAGES: BadImage[] = [
  {
    what: 'a path that does not exist',
    says: /no such|not exist|not found/i,
    make: async (folder) => join(folder, 'nothing'),
  },
  bytes('a text file', /not|no/i, () => Buffer.from('#!/bin/sh\necho this is no image\n')),
  bytes('an empty file', /empty|not|no/i, () => new Uint8Array()),
  bytes('a JPEG', /not|no/i, () => Buffer.concat([Buffer.from('ffd8ffe000104a46', 'hex'), Buffer.alloc(2000, 0xd9)])),
  bytes('an xz archive', /xz/i, () => Buffer.concat([Buffer.from('fd377a585a000004', 'hex'), Buffer.alloc(2000, 7)])),
  bytes('a truncated gzip', /gzip|truncated|end|compressed/i, () => gzipSync(TAR).subarray(0, 150)),
  bytes('a gzip with damage inside', /gzip|damaged|corrupt|compressed|checksum|crc|data/i, () => {
    const packed = gzipSync(TAR);
    packed[packed.length - 6] = packed[packed.length - 6] ^ 0xff;
    return packed;
  }),
  bytes(
    'a gzip bomb',
    /limit|max-layer-size|larger/i,
    () => gzipSync(tarOf({ name: 'bomb', data: Buffer.alloc(48 << 20) })),
    1 << 20,
  ),
  bytes('a docker archive that names a layer outside', /\.\.\/|outside|layer/i, () =>
    tarOf(
      { name: 'manifest.json', data: '[{"Config":"c.json","RepoTags":["a:b"],"Layers":["../../../etc/passwd"]}]' },
      { name: 'c.json', data: JSON.stringify(imageConfig([WRONG], machine())) },
    ),
  ),
  bytes('a docker archive without its layer', /layer|missing|not/i, () =>
    tarOf(
      { name: 'c.json', data: JSON.stringify(imageConfig([WRONG], machine())) },
      { name: 'manifest.json', data: '[{"Config":"c.json","RepoTags":["a:b"],"Layers":["l/layer.tar"]}]' },
    ),
  ),
  bytes('a docker archive whose manifest is no JSON', /manifest\.json|JSON/i, () =>
    tarOf({ name: 'manifest.json', data: '[{' }),
  ),
  spoil('a damaged layer blob of the same size', /digest|sha256/i, ({ layout, layer }) =>
    flipByte(layout.blobPath(layer.blob.digest), 50),
  ),
  spoil('a truncated layer blob', /size|digest|truncated|bytes/i, ({ layout, layer }) =>
    truncate(layout.blobPath(layer.blob.digest), 100),
  ),
  spoil('a missing layer blob', /missing|not there|no such|not found|lacks/i, ({ layout, layer }) =>
    rm(layout.blobPath(layer.blob.digest)),
  ),
  spoil('a missing manifest blob', /missing|not there|no such|not found|lacks/i, ({ layout, manifest }) =>
    rm(layout.blobPath(manifest.digest)),
  ),
  spoil('a damaged manifest', /digest/i, ({ layout, manifest }) => flipByte(layout.blobPath(manifest.digest), 10)),
  spoil('a missing index.json', /index\.json|not|no/i, ({ path }) => rm(join(path, 'index.json'))),
  spoil('an index.json that is no JSON', /index\.json|JSON/i, ({ path }) =>
    writeFile(join(path, 'index.json'), '{"manifests": ['),
  ),
  spoil('an empty index', /no image|empty|manifest/i, ({ path }) =>
    writeFile(join(path, 'index.json'), '{"schemaVersion":2,"manifests":[]}'),
  ),
  spoil('an index with a digest that is a path', /digest/i, ({ path }) =>
    writeFile(
      join(path, 'index.json'),
      JSON.stringify({
        schemaVersion: 2,
        manifests: [{ mediaType: MEDIA_TYPES.manifest, digest: 'sha256:../../../../etc/passwd', size: 5 }],
      }),
    ),
  ),
  spoil('an index of another platform only', /platform/i, ({ path, manifest }) =>
    writeFile(
      join(path, 'index.json'),
      JSON.stringify({
        schemaVersion: 2,
        manifests: [{ ...manifest, platform: { os: 'plan9', architecture: 'z80' } }],
      }),
    ),
  ),
  spoil('a layer blob replaced by a folder', /.+/, async ({ layout, layer }) => {
    await rm(layout.blobPath(layer.blob.digest));
    await mkdir(layout.blobPath(layer.blob.digest));
  }),
  manifest('a wrong diffID', /diffID|diff id|diff_id/i, async (value, layout) => {
    value.config = await configOf(layout, [WRONG]);
  }),
  manifest('fewer diffIDs than layers', /diffID|diff_ids|layers/i, async (value, layout) => {
    value.config = await configOf(layout, []);
  }),
  manifest('a config without rootfs', /rootfs|diff/i, async (value, layout) => {
    value.config = await configOf(layout, [], { rootfs: undefined });
  }),
  manifest('a config that is no JSON', /config|JSON/i, async (value, layout) => {
    value.config = await layout.addBytes(MEDIA_TYPES.config, Buffer.from('{'));
  }),
  manifest('a missing config', /config|missing|not/i, async (value, layout) => {
    await rm(layout.blobPath(value.config.digest));
  }),
  manifest('a layer of unknown media type', /media ?type|application\/x-brotli/i, (value) => {
    value.layers[0].mediaType = 'application/x-brotli-layer';
  }),
  manifest('a layer of a foreign type', /media ?type|foreign|nondistributable/i, (value) => {
    value.layers[0].mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    value.layers[0].digest = WRONG;
  }),
  manifest('a layer with another digest algorithm', /digest|algorithm|md5/i, (value) => {
    value.layers[0].digest = 'md5:d41d8cd98f00b204e9800998ecf8427e';
  }),
  manifest('a layer with a wrong size', /size|bytes/i, (value) => {
    value.layers[0].size += 1;
  }),
  manifest('a layer with a negative size', /size/i, (value) => {
    value.layers[0].size = -5;
  }),
  manifest('a manifest that is an array', /manifest/i, () => []),
  manifest('a manifest without layers', /layers|manifest/i, (value) => ({ ...value, layers: undefined })),
  manifest('a manifest of schema version 1', /schema/i, (value) => ({ ...value, schemaVersion: 1 })),
  manifest('a manifest that is no JSON', /manifest|JSON/i, () => '{"schemaVersion": 2,'),
  manifest('JSON nested 100,000 deep', /.+/, () => '['.repeat(100_000)),
  {
    what: '200 indexes one in another',
    says: /index|nested|deep|digest/i,
    make: async (folder) => {
      const { path, layout, manifest: leaf } = await soundLayout(folder);
      let inner = leaf;
      for (let depth = 0; depth < 200; depth++) {
        inner = await layout.addJson(MEDIA_TYPES.index, {
          schemaVersion: 2,
          mediaType: MEDIA_TYPES.index,
          manifests: [inner],
        });
      }
      await writeFile(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [inner] }));
      return path;
    },
  },
  {
    what: 'a layer said to be gzip that is plain garbage',
    says: /gzip|compressed|header/i,
    make: async (folder) =>
      withManifest(folder, async (value, layout) => {
        const garbage = Buffer.alloc(3000, 'no gzip');
        value.layers[0] = await layout.addBytes(MEDIA_TYPES.layer.gzip, garbage);
        value.config = await configOf(layout, [sha256(garbage)]);
      }),
  },
];
