import { interruption, withStore } from '../../context.js';
import { shortDigest } from '../../format.js';
import { print, printJson } from '../../output.js';
import { Progress, progressScreen } from '../../progress.js';
import { sentText } from './sent.js';
import { registryOf, type RegistryOptions } from './options.js';

/** `layerfs push IMAGE [REF]` */
export async function run(
  image: string,
  ref: string | undefined,
  options: RegistryOptions & { readonly allPlatforms?: boolean; readonly json?: boolean },
): Promise<void> {
  const signal = interruption();
  const registry = registryOf(options);
  const progress = new Progress(progressScreen(options), 'already there');
  try {
    await withStore(options, async (store) => {
      const result = await store
        .push(image, {
          registry,
          allPlatforms: options.allPlatforms === true,
          onProgress: (event) => progress.layer(event),
          signal,
          ...(ref === undefined ? {} : { to: ref }),
        })
        .finally(() => progress.clear());
      if (options.json === true) return printJson(result);
      if (options.quiet === true) return print(result.digest);
      print(`pushed ${ref ?? image} ${shortDigest(result.digest)}`);
      print(sentText(result));
    });
  } finally {
    registry.close();
  }
}
