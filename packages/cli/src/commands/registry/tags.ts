import { interruption } from '../../context.js';
import { print, printJson } from '../../output.js';
import { registryOf, type RegistryOptions } from './options.js';

/** `layerfs tags REPOSITORY` */
export async function run(repository: string, options: RegistryOptions & { readonly json?: boolean }): Promise<void> {
  const signal = interruption();
  const registry = registryOf(options);
  try {
    const all: string[] = [];
    for await (const tag of registry.tags(repository, { signal })) {
      if (options.json === true) all.push(tag);
      else print(tag);
    }
    if (options.json === true) printJson(all);
  } finally {
    registry.close();
  }
}
