import { forgetCredentials, LayerfsError, parseRegistryHost } from 'layerfs/registry';
import { interruption, type GlobalOptions } from '../../context.js';
import { print } from '../../output.js';

/** `layerfs logout REGISTRY` */
export async function run(registry: string, options: GlobalOptions): Promise<void> {
  const host = parseRegistryHost(registry);
  const from = await forgetCredentials(host, { signal: interruption() });
  if (from.length === 0) throw new LayerfsError('not-found', `there are no credentials for ${host}`);
  if (options.quiet !== true) print(`logged out of ${host}; removed from ${from.join(', ')}`);
}
