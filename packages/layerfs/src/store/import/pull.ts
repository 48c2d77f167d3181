import { LayerfsError } from '../../core/error.js';
import { parseImageName } from '../../core/oci/reference.js';
import { parseRegistryReference } from '../../registry/address.js';
import { Registry } from '../../registry/registry.js';
import type { StoreContext } from '../context.js';
import { openRegistry } from '../source/registry.js';
import { importSource } from './import.js';
import type { ImportOptions, ImportResult } from './progress.js';

/** Options of a pull. `name`: what to call the image, in place of the reference. */
export interface PullOptions extends ImportOptions {
  /** Every image of an index; the one for this machine gets the name, the others that and their platform. */
  readonly allPlatforms?: boolean;
  /** The client to pull with; one with the system's settings by default. */
  readonly registry?: Registry;
}

/** What a pull did. */
export interface PullResult extends ImportResult {
  /** Bytes of layers that came over the network. */
  readonly fetched: number;
}

/** Pulls an image. @throws LayerfsError; then nothing was added */
export async function pullImages(context: StoreContext, ref: string, options: PullOptions): Promise<PullResult> {
  const reference = parseRegistryReference(ref);
  const { platform, allPlatforms = false, signal } = options;
  if (allPlatforms && platform !== undefined) {
    throw new LayerfsError('invalid-argument', 'one platform, or all: not both');
  }
  const registry = options.registry ?? new Registry();
  let fetched = 0;
  try {
    const result = await importSource(
      context,
      ({ folder }, threads) =>
        openRegistry(context, registry, reference, {
          folder,
          allPlatforms,
          onNew: () => threads.warm(),
          onFetched: (bytes) => {
            fetched += bytes;
            options.onProgress?.({ kind: 'fetched', bytes });
          },
          signal,
          ...(options.name === undefined ? {} : { name: parseImageName(options.name) }),
          ...(platform === undefined ? {} : { platform }),
        }),
      options,
    );
    return { ...result, fetched };
  } finally {
    if (options.registry === undefined) registry.close();
  }
}
