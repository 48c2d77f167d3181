/** The registries that images were pulled from, as the last place from which their content can come again. */
import type { Digest } from '../../../core/digest.js';
import { LayerfsError } from '../../../core/error.js';
import { MAX_DOCUMENT } from '../../../core/oci/json.js';
import type { Descriptor } from '../../../core/oci/descriptor.js';
import { isIndexType, isManifestType } from '../../../core/oci/media-types.js';
import { parseManifest } from '../../../core/oci/manifest.js';
import { parseRegistryReference } from '../../../registry/address.js';
import { Registry } from '../../../registry/registry.js';
import type { ImageRecord } from '../../meta.js';
import type { SourceLayer } from '../../source/source.js';
import { MOST_BESIDE } from '../../source/whole-index.js';

type Images = readonly { readonly record: ImageRecord }[];

/** What pulled images say where they are from. Nobody is asked before something is wanted. */
export class Origins {
  readonly #given: Registry | undefined;
  readonly #signal: AbortSignal | undefined;
  #own: Registry | undefined;

  /** @param registry the client; one with the system's settings without it */
  constructor(registry: Registry | undefined, signal: AbortSignal | undefined) {
    this.#given = registry;
    this.#signal = signal;
  }

  /** All layers, with where they are. */
  layers(images: Images): { readonly what: string; readonly layer: SourceLayer }[] {
    return images.flatMap(({ record: { source, layers } }) => {
      if (source === undefined) return [];
      return layers.map(({ diffID, digest, size, mediaType }) => {
        const open = (): AsyncIterable<Uint8Array> =>
          this.#registry().blob(source, { digest, size }, { verify: false, signal: this.#signal });
        return { what: source, layer: { what: `blob ${digest} of ${source}`, diffID, digest, size, mediaType, open } };
      });
    });
  }

  /** A manifest or config; undefined where no registry gives it. */
  async document(
    images: Images,
    digest: Digest,
  ): Promise<{ readonly what: string; readonly bytes: Uint8Array } | undefined> {
    for (const { record } of images) {
      const { source } = record;
      if (source === undefined) continue;
      const listed = record.indexes?.flatMap(({ documents }) => documents).find((one) => one.digest === digest);
      if (listed === undefined && record.digest !== digest && record.config !== digest) continue;
      try {
        if (listed !== undefined) return { what: source, bytes: await this.#listed(source, listed) };
        const manifest = await this.#registry().manifest(source, { signal: this.#signal });
        if (manifest.digest === digest) return { what: source, bytes: manifest.bytes };
        const { config } = parseManifest(manifest.bytes, manifest.digest);
        if (config.digest === digest) return { what: source, bytes: await this.#blob(source, config, MAX_DOCUMENT) };
      } catch (error) {
        if (!(error instanceof LayerfsError) || error.code === 'aborted') throw error;
      }
    }
    return undefined;
  }

  /** What an index brought: a manifest or index, or a blob, of the repository of `source`. */
  async #listed(source: string, descriptor: Pick<Descriptor, 'digest' | 'mediaType' | 'size'>): Promise<Uint8Array> {
    const { digest, mediaType } = descriptor;
    if (!isIndexType(mediaType) && !isManifestType(mediaType)) return this.#blob(source, descriptor, MOST_BESIDE);
    const { host, repository } = parseRegistryReference(source);
    return (await this.#registry().manifest({ host, repository, digest }, { signal: this.#signal })).bytes;
  }

  close(): void {
    this.#own?.close();
  }

  async #blob(source: string, blob: { digest: Digest; size: number }, most: number): Promise<Uint8Array> {
    if (blob.size > most) {
      throw new LayerfsError('invalid-argument', `${blob.digest} of ${source} has ${blob.size} bytes: too many`);
    }
    const parts: Uint8Array[] = [];
    for await (const piece of this.#registry().blob(source, blob, { signal: this.#signal })) parts.push(piece);
    return Buffer.concat(parts);
  }

  #registry(): Registry {
    if (this.#given !== undefined) return this.#given;
    this.#own ??= new Registry();
    return this.#own;
  }
}
