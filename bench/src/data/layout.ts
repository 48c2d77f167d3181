/** Writes OCI layouts: any number of images of layers that are at hand as tars. */
import { createHash } from 'node:crypto';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { arch } from 'node:process';
import { runBeside } from '../harness/release.js';

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
  #sequence = 0;
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

  /** Adds a layer out of a file, compressed as most tools do it; by other processes, so that several may be at once. */
  async gzipLayer(tar: string): Promise<Layer> {
    const blob = join(this.#blobs, `new-${this.#sequence++}`);
    const script = 'gzip -n -6 < "$1" > "$2" && sha256sum < "$1" && sha256sum < "$2" && stat -c %s "$2"';
    const [plain, compressed, size] = (await runBeside('sh', '-c', script, 'sh', tar, blob)).split('\n');
    const hex = (line: string): string => line.split(' ', 1)[0];
    renameSync(blob, join(this.#blobs, hex(compressed)));
    const mediaType = `${TYPE}.layer.v1.tar+gzip`;
    return {
      blob: { mediaType, digest: `sha256:${hex(compressed)}`, size: Number(size) },
      diffID: `sha256:${hex(plain)}`,
    };
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
