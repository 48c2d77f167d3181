import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, plural } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs prune --blobs` */
export async function run(options: Options): Promise<void> {
  const signal = interruption();
  await withStore(options, async (store) => {
    const dropped = await store.dropBlobs(undefined, { signal });
    if (options.json === true) return printJson(dropped);
    if (options.quiet !== true) print(`dropped ${plural(dropped.blobs, 'layer blob')}, ${formatBytes(dropped.bytes)}`);
  });
}
