import { interruption, withStore } from '../../context.js';
import { formatBytes, plural, shortDigest } from '../../format.js';
import { print, printJson } from '../../output.js';
import { Progress, progressScreen } from '../../progress.js';
import { registryOf, type RegistryOptions } from './options.js';

/** `layerfs push IMAGE [REF]` */
export async function run(
  image: string,
  ref: string | undefined,
  options: RegistryOptions & { readonly json?: boolean },
): Promise<void> {
  const signal = interruption();
  const registry = registryOf(options);
  const progress = new Progress(progressScreen(options), 'already there');
  try {
    await withStore(options, async (store) => {
      const result = await store
        .push(image, {
          registry,
          onProgress: (event) => progress.layer(event),
          signal,
          ...(ref === undefined ? {} : { to: ref }),
        })
        .finally(() => progress.clear());
      if (options.json === true) return printJson(result);
      if (options.quiet === true) return print(result.digest);
      const { uploaded, mounted, existing, bytes } = result;
      print(`pushed ${ref ?? image} ${shortDigest(result.digest)}`);
      print(
        `sent ${formatBytes(bytes)} in ${plural(uploaded, 'blob')}; ${existing} there already, ${mounted} from another repository`,
      );
    });
  } finally {
    registry.close();
  }
}
