/** Where the content of a layer, a manifest or a config can come from again: the store's own blobs, and what was given. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest, DiffID } from '../../../core/digest.js';
import { LayerfsError } from '../../../core/error.js';
import { layerCompression } from '../../../core/oci/media-types.js';
import { BlobIntake, readFileStream } from '../../import/intake.js';
import { sniffCompression } from '../../inflate/compression.js';
import { Inflated } from '../../inflate/inflate.js';
import { InflateThreads } from '../../inflate/thread.js';
import type { LayerTar } from '../../layer-unpack.js';
import { currentPlatform } from '../../source/host.js';
import { openSource } from '../../source/open.js';
import type { SourceImage, SourceLayer } from '../../source/source.js';
import { storedTar } from '../check-layer.js';
import type { Comparison } from '../compare.js';
import type { FsckOptions } from '../problem.js';
import type { CheckState } from '../state.js';
import { Origins } from './origins.js';

/** One way to get a layer's tar. */
export interface TarSource {
  /** For the report. */
  readonly what: string;
  /** Gives the tar to `use`. @throws LayerfsError corrupt when it is not what it should be */
  read<T>(use: (tar: LayerTar) => Promise<T>): Promise<T>;
}

/** What layers, manifests and configs can be taken from. */
export class Sources {
  readonly #state: CheckState;
  readonly #threads = new InflateThreads();
  readonly #images: { readonly path: string; readonly image: SourceImage }[] = [];
  readonly #signal: AbortSignal | undefined;
  readonly #origins: Origins;

  private constructor(state: CheckState, { registry, signal }: Pick<FsckOptions, 'registry' | 'signal'>) {
    this.#state = state;
    this.#signal = signal;
    this.#origins = new Origins(registry, signal);
  }

  /**
   * @param folder for archives that have to lie on disk to be read
   * @param platforms of the images that may be asked for
   * @throws LayerfsError naming a path that holds no image at all
   */
  static async open(
    state: CheckState,
    options: Pick<FsckOptions, 'from' | 'registry' | 'signal'>,
    platforms: readonly string[],
    folder: string,
  ): Promise<Sources> {
    const sources = new Sources(state, options);
    for (const [i, path] of (options.from ?? []).entries())
      await sources.#add(path, platforms, join(folder, `from-${i}`));
    return sources;
  }

  async #add(path: string, platforms: readonly string[], folder: string): Promise<void> {
    let failure: unknown;
    let found = false;
    const others = platforms.filter((platform) => platform !== '' && platform !== currentPlatform());
    for (const [i, platform] of [undefined, ...others].entries()) {
      const scratch = `${folder}-${i}`;
      mkdirSync(scratch, { recursive: true, mode: 0o700 });
      try {
        const { images } = await openSource(path, scratch, {
          threads: this.#threads,
          name: 'fsck:from',
          ...(platform === undefined ? {} : { platform }),
          ...(this.#signal === undefined ? {} : { signal: this.#signal }),
        });
        for (const image of images) this.#images.push({ path, image });
        found = true;
      } catch (error) {
        // One of several images, or another platform: without a name for it both can be had.
        failure ??= error;
        if (!(error instanceof LayerfsError) || error.code === 'aborted') throw error;
        found = (await this.#addUnnamed(path, platform, `${scratch}-all`)) || found;
      }
    }
    if (!found) throw failure;
  }

  async #addUnnamed(path: string, platform: string | undefined, scratch: string): Promise<boolean> {
    mkdirSync(scratch, { mode: 0o700 });
    try {
      const { images } = await openSource(path, scratch, {
        threads: this.#threads,
        ...(platform === undefined ? {} : { platform }),
      });
      for (const image of images) this.#images.push({ path, image });
      return true;
    } catch (error) {
      if (error instanceof LayerfsError && error.code !== 'aborted') return false;
      throw error;
    }
  }

  /** The ways to get a layer, the nearest first. `own`: whether tar record and objects of the store may do. */
  layer(diffID: DiffID, { records, images }: Comparison, own: boolean): TarSource[] {
    const ways: TarSource[] = [];
    const { paths, xxhash } = this.#state;
    if (own && existsSync(join(paths.layer(diffID), 'tar'))) {
      const read = <T>(use: (tar: LayerTar) => Promise<T>): Promise<T> =>
        use(storedTar({ paths, xxhash }, diffID, () => undefined));
      ways.push({ what: 'its tar record and objects', read });
    }
    const digests = new Set<Digest>();
    for (const [digest, blob] of records.blobs) if (blob.diffID === diffID) digests.add(digest);
    for (const { record } of images) {
      for (const layer of record.layers) if (layer.diffID === diffID) digests.add(layer.digest);
    }
    for (const digest of digests) {
      const path = paths.blob(digest);
      if (!existsSync(path)) continue;
      const layer: SourceLayer = { what: `blob ${digest}`, digest, open: () => readFileStream(path) };
      ways.push({ what: 'its compressed blob', read: (use) => this.#read(layer, use) });
    }
    const maybe: TarSource[] = [];
    for (const { path, image } of this.#images) {
      for (const layer of image.layers) {
        const way: TarSource = { what: path, read: (use) => this.#read(layer, use) };
        if (layer.diffID === diffID || (layer.digest !== undefined && digests.has(layer.digest))) ways.push(way);
        // Only reading it shows what it is.
        else if (layer.diffID === undefined) maybe.push(way);
      }
    }
    const far = this.#origins
      .layers(images)
      .filter(({ layer }) => layer.diffID === diffID)
      .map(({ what, layer }): TarSource => ({ what, read: (use) => this.#read(layer, use) }));
    return [...ways, ...maybe, ...far];
  }

  /** The bytes of a manifest or config. */
  async document(
    digest: Digest,
    { images }: Comparison,
  ): Promise<{ readonly what: string; readonly bytes: Uint8Array } | undefined> {
    for (const { path, image } of this.#images) {
      for (const document of [image.manifest, image.config]) {
        if (document?.digest === digest) return { what: path, bytes: document.bytes };
      }
    }
    return this.#origins.document(images, digest);
  }

  /** The layer with a blob of this digest, and where it is from. */
  blob(digest: Digest, { images }: Comparison): { readonly what: string; readonly layer: SourceLayer } | undefined {
    for (const { path, image } of this.#images) {
      for (const layer of image.layers) if (layer.digest === digest) return { what: path, layer };
    }
    return this.#origins.layers(images).find(({ layer }) => layer.digest === digest);
  }

  async #read<T>(layer: SourceLayer, use: (tar: LayerTar) => Promise<T>): Promise<T> {
    const intake = this.intake(layer);
    try {
      const compression =
        layer.mediaType === undefined ? sniffCompression(await intake.head(8)) : layerCompression(layer.mediaType);
      const result = await use(new Inflated(intake, compression, layer.what, this.#threads));
      await intake.finish();
      return result;
    } finally {
      await intake.close();
    }
  }

  /** A layer's blob, verified while it is read. */
  intake(layer: SourceLayer): BlobIntake {
    return new BlobIntake(layer.open(), {
      what: layer.what,
      onBytes: () => undefined,
      ...(layer.digest === undefined ? {} : { digest: layer.digest }),
      ...(layer.size === undefined ? {} : { size: layer.size }),
      ...(this.#signal === undefined ? {} : { signal: this.#signal }),
    });
  }

  async close(): Promise<void> {
    this.#origins.close();
    await this.#threads.close();
  }
}
