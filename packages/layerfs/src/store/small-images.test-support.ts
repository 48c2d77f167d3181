/** Makes small images for tests of the store. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { padding, TAR_END, tarHeader, type TarHeaderFields } from './source/tar-header.js';

/** A tar entry; `data` gives the size. */
export type Entry = Partial<Omit<TarHeaderFields, 'size'>> & {
  readonly path: string;
  readonly data?: string | Uint8Array;
};

export const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A tar of these entries. */
export function tarOf(...entries: Entry[]): Buffer {
  const parts = entries.flatMap(({ data = '', ...fields }) => {
    const bytes = Buffer.from(data as string);
    const type = fields.path.endsWith('/') ? '5' : '0';
    const header = {
      type,
      mode: type === '5' ? 0o755 : 0o644,
      uid: 0,
      gid: 0,
      mtimeSec: 1_700_000_000,
      ...fields,
    } as const;
    return [tarHeader({ ...header, size: bytes.length }), bytes, padding(bytes.length)];
  });
  return Buffer.concat([...parts, TAR_END]);
}

const LAYER = 'application/vnd.oci.image.layer.v1.tar';

/** What `imageOf` makes; blobs by digest. */
export interface SmallImage {
  readonly manifest: { readonly mediaType: string; readonly digest: string; readonly size: number };
  readonly blobs: Map<string, Uint8Array>;
  readonly diffIDs: readonly string[];
  readonly layers: readonly { readonly mediaType: string; readonly digest: string; readonly size: number }[];
  readonly config: Uint8Array;
}

/** An image of these layer tars, gzipped unless `plain`. `change` may spoil the manifest. */
export function imageOf(
  tars: readonly Uint8Array[],
  options: { readonly plain?: boolean; readonly config?: object; readonly change?: (manifest: Spoilable) => void } = {},
): SmallImage {
  const blobs = new Map<string, Uint8Array>();
  const add = (mediaType: string, bytes: Uint8Array): { mediaType: string; digest: string; size: number } => {
    blobs.set(digestOf(bytes), bytes);
    return { mediaType, digest: digestOf(bytes), size: bytes.length };
  };
  const diffIDs = tars.map((tar) => digestOf(tar));
  const layers = tars.map((tar) => (options.plain === true ? add(LAYER, tar) : add(`${LAYER}+gzip`, gzipSync(tar))));
  const config = Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: { x64: 'amd64' }[process.arch as string] ?? process.arch,
      rootfs: { type: 'layers', diff_ids: diffIDs },
      history: tars.map((_, i) => ({ created_by: `step ${i + 1}` })),
      ...options.config,
    }),
  );
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: add('application/vnd.oci.image.config.v1+json', config),
    layers,
  };
  options.change?.(manifest);
  return { manifest: add(manifest.mediaType, Buffer.from(JSON.stringify(manifest))), blobs, diffIDs, layers, config };
}

/** A manifest that a test may make wrong. */
export interface Spoilable {
  config: { mediaType: string; digest: string; size: number };
  layers: { mediaType: string; digest: string; size: number }[];
}

/** Writes an OCI layout with these images by tag. */
export function layoutOf(folder: string, images: Readonly<Record<string, SmallImage>>): string {
  mkdirSync(join(folder, 'blobs/sha256'), { recursive: true });
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  for (const { blobs } of Object.values(images)) {
    for (const [digest, bytes] of blobs) writeFileSync(join(folder, 'blobs', digest.replace(':', '/')), bytes);
  }
  const manifests = Object.entries(images).map(([tag, { manifest }]) => ({
    ...manifest,
    annotations: { 'org.opencontainers.image.ref.name': tag },
  }));
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  return folder;
}

/** All paths of a store but those of its records. */
export function listing(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => !path.startsWith('meta/'))
    .toSorted();
}

/** A layer, and one above it. */
export const BASE = tarOf(
  { path: 'etc/' },
  { path: 'etc/motd', data: 'hello\n' },
  { path: 'same', data: 'the same\n' },
  { path: 'gone', data: 'gone\n' },
  { path: 'link', type: '2', linkname: 'etc/motd', mode: 0o777 },
);
export const TOP = tarOf(
  { path: 'also', data: 'the same\n' },
  { path: '.wh.gone' },
  { path: 'etc/motd', data: 'bye\n' },
);

/** An image of both. */
export const two = (): SmallImage => imageOf([BASE, TOP]);
