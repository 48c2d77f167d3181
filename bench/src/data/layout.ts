/** Writes OCI layouts: any number of images of layers that are at hand as tars. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { arch } from 'node:process';
import { run } from '../harness/programs.js';

const TYPE = 'application/vnd.oci.image';
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** A layer in a layout. */
export interface Layer {
  readonly blob: Descriptor;
  readonly diffID: string;
}

/** An OCI layout being written. */
export class LayoutWriter {
  readonly folder: string;
  readonly #blobs: string;
  readonly #manifests: (Descriptor & { readonly annotations: Readonly<Record<string, string>> })[] = [];

  /** @param folder is made */
  constructor(folder: string) {
    this.folder = folder;
    this.#blobs = join(folder, 'blobs/sha256');
    mkdirSync(this.#blobs, { recursive: true });
    writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  }

  /** Adds a layer as an uncompressed tar. */
  plainLayer(tar: Uint8Array): Layer {
    const blob = this.#add(`${TYPE}.layer.v1.tar`, tar);
    return { blob, diffID: blob.digest };
  }

  /** Adds a layer out of a file, compressed as most tools do it. */
  gzipLayer(tar: string): Layer {
    const blob = join(this.#blobs, 'new');
    run('sh', '-c', `gzip -n -6 < '${tar}' > '${blob}'`);
    const digest = `sha256:${sha256Of(blob)}`;
    const size = Number(run('stat', '-c', '%s', blob));
    renameSync(blob, join(this.#blobs, digest.slice(7)));
    return { blob: { mediaType: `${TYPE}.layer.v1.tar+gzip`, digest, size }, diffID: `sha256:${sha256Of(tar)}` };
  }

  /** Adds an image of layers, lowest first. @param tag a tag or a whole name */
  image(layers: readonly Layer[], tag: string): void {
    const config = this.#json(`${TYPE}.config.v1+json`, {
      os: 'linux',
      architecture: ARCHITECTURES[arch] ?? arch,
      // Images that are equal but for their names are one.
      config: { Labels: { tag } },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffID }) => diffID) },
      history: layers.map((_, i) => ({ created_by: `step ${i}` })),
    });
    const manifest = this.#json(`${TYPE}.manifest.v1+json`, {
      schemaVersion: 2,
      mediaType: `${TYPE}.manifest.v1+json`,
      config,
      layers: layers.map(({ blob }) => blob),
    });
    this.#manifests.push({ ...manifest, annotations: { 'org.opencontainers.image.ref.name': tag } });
  }

  /** Writes the index. */
  finish(): void {
    const index = { schemaVersion: 2, mediaType: `${TYPE}.index.v1+json`, manifests: this.#manifests };
    writeFileSync(join(this.folder, 'index.json'), JSON.stringify(index));
  }

  #json(mediaType: string, value: unknown): Descriptor {
    return this.#add(mediaType, Buffer.from(JSON.stringify(value)));
  }

  #add(mediaType: string, bytes: Uint8Array): Descriptor {
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(this.#blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  }
}

function sha256Of(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
