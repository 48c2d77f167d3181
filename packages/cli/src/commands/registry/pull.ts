import type { ImportProgress } from 'layerfs';
import { interruption, withStore } from '../../context.js';
import { formatBytes, plural } from '../../format.js';
import { note, print, printJson } from '../../output.js';
import { Progress, progressScreen } from '../../progress.js';
import { registryOf, type RegistryOptions } from './options.js';
import { printTakenIn } from '../image/taken-in.js';

interface Options extends RegistryOptions {
  readonly name?: string;
  readonly platform?: string;
  readonly allPlatforms?: boolean;
  readonly maxLayerSize?: number;
  readonly json?: boolean;
}

/** `layerfs pull REF` */
export async function run(ref: string, options: Options): Promise<void> {
  const signal = interruption();
  const progress = new Progress(progressScreen(options));
  let came = 0;
  const onProgress = (event: ImportProgress): void => {
    if (event.kind === 'fetched') came += event.bytes;
    else if (event.kind === 'layer') progress.layer(event);
    else if (event.kind === 'note' && options.quiet !== true && options.json !== true) {
      progress.clear();
      note(`layerfs: ${event.message}`);
    }
  };
  const registry = registryOf(options);
  try {
    await withStore(options, async (store) => {
      const result = await store
        .pull(ref, {
          registry,
          allPlatforms: options.allPlatforms === true,
          ...(options.name === undefined ? {} : { name: options.name }),
          ...(options.platform === undefined ? {} : { platform: options.platform }),
          ...(options.maxLayerSize === undefined ? {} : { maxLayerSize: options.maxLayerSize }),
          onProgress,
          signal,
        })
        .catch((error: unknown) => {
          progress.clear();
          // Of nothing, nothing is kept; and what is wrong is not kept either.
          if (came > 0 && isPassing(error) && options.quiet !== true) {
            note(`layerfs: ${formatBytes(came)} have come: what of it is kept, the next pull need not fetch again`);
          }
          throw error;
        })
        .finally(() => progress.clear());
      if (options.json === true) return printJson(result);
      printTakenIn('pulled', result.images, options.quiet === true);
      if (options.quiet !== true && result.fetched > 0) {
        print(
          `fetched ${formatBytes(result.fetched)}, stored ${formatBytes(result.newBytes)} in ${plural(result.newObjects, 'new object')}`,
        );
      }
    });
  } finally {
    registry.close();
  }
}

/** A failure that may pass, or somebody who did not want to wait. */
function isPassing(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === 'unavailable' || code === 'aborted';
}
