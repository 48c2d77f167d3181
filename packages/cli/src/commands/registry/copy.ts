import { interruption, withStore } from '../../context.js';
import { shortDigest } from '../../format.js';
import { print, printJson } from '../../output.js';
import { Progress, progressScreen } from '../../progress.js';
import { registryOf, type RegistryOptions } from './options.js';
import { sentText } from './sent.js';

interface Options extends RegistryOptions {
  readonly platform?: string;
  readonly allPlatforms?: boolean;
  readonly json?: boolean;
}

/** `layerfs copy REF1 REF2` */
export async function run(from: string, to: string, options: Options): Promise<void> {
  const signal = interruption();
  const registry = registryOf(options);
  const progress = new Progress(progressScreen(options), 'already there');
  try {
    await withStore(options, async (store) => {
      const result = await store
        .copy(from, to, {
          registry,
          allPlatforms: options.allPlatforms === true,
          ...(options.platform === undefined ? {} : { platform: options.platform }),
          onProgress: (event) => progress.layer(event),
          signal,
        })
        .finally(() => progress.clear());
      if (options.json === true) return printJson(result);
      if (options.quiet === true) return print(result.digest);
      print(`copied ${from} to ${to} ${shortDigest(result.digest)}`);
      print(sentText(result));
    });
  } finally {
    registry.close();
  }
}
