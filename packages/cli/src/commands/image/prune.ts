import { LayerfsError } from 'layerfs';
import { withStore, type GlobalOptions } from '../../context.js';
import { formatBytes } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly blobs?: boolean;
  readonly json?: boolean;
}

/** `layerfs prune --blobs` */
export async function run(options: Options): Promise<void> {
  if (options.blobs !== true) throw new LayerfsError('invalid-argument', 'prune: say what to drop: --blobs');
  await withStore(options, async (store) => {
    const dropped = await store.dropBlobs();
    if (options.json === true) return printJson(dropped);
    if (options.quiet !== true) print(`dropped ${dropped.blobs} layer blobs, ${formatBytes(dropped.bytes)}`);
  });
}
