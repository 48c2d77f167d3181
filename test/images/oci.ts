/** Writes OCI image layouts and docker archives, from layers given as tar streams. */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Transform, type Readable, type TransformCallback } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip } from 'node:zlib';
import { tarEntry, tarOf } from './tar.js';

export const run = promisify(execFile);

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
  platform?: { os: string; architecture: string; variant?: string };
}

/** A layer: its compressed blob, and what is in it. */
export interface LayerInfo {
  blob: Descriptor;
  diffId: string;
  /** Bytes of the uncompressed tar. */
  size: number;
}

export type Compression = 'gzip' | 'zstd' | 'plain';

const LAYER = 'application/vnd.oci.image.layer.v1.tar';
export const MEDIA_TYPES = {
  layer: { gzip: `${LAYER}+gzip`, zstd: `${LAYER}+zstd`, plain: LAYER },
  config: 'application/vnd.oci.image.config.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
} as const;

/** Hashes and counts what passes. */
class Meter extends Transform {
  size = 0;
  readonly #hash = createHash('sha256');
  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#hash.update(chunk);
    this.size += chunk.length;
    done(null, chunk);
  }
  digest(): string {
    return `sha256:${this.#hash.digest('hex')}`;
  }
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The machine's name for its architecture, as image indexes write it. */
export function machine(): { os: string; architecture: string } {
  const names: Record<string, string> = { x64: 'amd64', ia32: '386' };
  return { os: 'linux', architecture: names[process.arch] ?? process.arch };
}

/** An OCI layout under construction in `folder`. */
export class Layout {
  readonly folder: string;
  #temporary = 0;
  readonly #manifests: Descriptor[] = [];

  constructor(folder: string) {
    this.folder = folder;
  }

  static async create(folder: string): Promise<Layout> {
    await mkdir(join(folder, 'blobs/sha256'), { recursive: true });
    await writeFile(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    return new Layout(folder);
  }

  blobPath(digest: string): string {
    return join(this.folder, 'blobs', digest.replace(':', '/'));
  }

  async addBytes(mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
    const digest = sha256(bytes);
    await writeFile(this.blobPath(digest), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  addJson(mediaType: string, value: unknown): Promise<Descriptor> {
    return this.addBytes(mediaType, Buffer.from(JSON.stringify(value)));
  }

  /** Compresses a tar into a layer blob. The zstd layers need the `zstd` command. */
  async addLayer(tar: Readable, compression: Compression, level = 6): Promise<LayerInfo> {
    const temporary = join(this.folder, `.layer-${this.#temporary++}`);
    const plain = new Meter();
    const blob = new Meter();
    const out = createWriteStream(temporary);
    if (compression === 'zstd') {
      const zstd = spawn('zstd', ['-q', '-3', '-c', '-'], { stdio: ['pipe', 'pipe', 'inherit'] });
      const failed = new Promise<never>((_, reject) => zstd.once('error', reject));
      const work = Promise.all([pipeline(tar, plain, zstd.stdin), pipeline(zstd.stdout, blob, out)]);
      await Promise.race([work, failed]);
    } else {
      await pipeline(tar, plain, compression === 'gzip' ? createGzip({ level }) : new PassThrough(), blob, out);
    }
    const digest = blob.digest();
    await rename(temporary, this.blobPath(digest));
    const mediaType = MEDIA_TYPES.layer[compression];
    return { blob: { mediaType, digest, size: blob.size }, diffId: plain.digest(), size: plain.size };
  }

  /** Config and manifest for a stack of layers, lowest first. */
  async addImage(
    layers: LayerInfo[],
    platform: { os: string; architecture: string; variant?: string },
  ): Promise<Descriptor> {
    const config = await this.addJson(
      MEDIA_TYPES.config,
      imageConfig(
        layers.map((layer) => layer.diffId),
        platform,
      ),
    );
    return this.addJson(MEDIA_TYPES.manifest, {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config,
      layers: layers.map((layer) => layer.blob),
      annotations: { 'org.opencontainers.image.title': 'layerfs test image' },
    });
  }

  /** Names a manifest or index in index.json (written by `finish`). */
  tag(descriptor: Descriptor, name: string): void {
    this.#manifests.push({ ...descriptor, annotations: { 'org.opencontainers.image.ref.name': name } });
  }

  async finish(): Promise<void> {
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: this.#manifests };
    await writeFile(join(this.folder, 'index.json'), JSON.stringify(index));
  }
}

/** An image config as `docker build` would leave it: one history line for each layer, and one empty. */
export function imageConfig(
  diffIds: string[],
  platform: { os: string; architecture: string; variant?: string },
): unknown {
  const created = '2026-01-01T00:00:00Z';
  return {
    created,
    ...platform,
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['/bin/sh'] },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: [
      ...diffIds.map((_, index) => ({ created, created_by: `layerfs test layer ${index + 1}` })),
      { created, created_by: 'CMD ["/bin/sh"]', empty_layer: true },
    ],
  };
}

/** A `docker save` archive: manifest.json, a config, and one layer.tar each in a folder of its own. */
export async function writeDockerArchive(
  path: string,
  tars: { path: string; diffId: string }[],
  tag: string,
): Promise<void> {
  const config = Buffer.from(
    JSON.stringify(
      imageConfig(
        tars.map((tar) => tar.diffId),
        machine(),
      ),
    ),
  );
  const configName = `${sha256(config).slice(7)}.json`;
  const names = tars.map((tar) => `${tar.diffId.slice(7)}/layer.tar`);
  const manifest = JSON.stringify([{ Config: configName, RepoTags: [tag], Layers: names }]);
  const out = createWriteStream(path);
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (const [index, tar] of tars.entries()) {
      const { size } = await stat(tar.path);
      yield* tarEntry({ name: names[index].replace('layer.tar', '') });
      yield* tarEntry({ name: names[index], size });
      yield* createReadStream(tar.path) as AsyncIterable<Uint8Array>;
    }
    yield tarOf({ name: configName, data: config }, { name: 'manifest.json', data: manifest });
  }
  await pipeline(bytes, out);
}
