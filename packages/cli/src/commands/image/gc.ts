import { withStore, type GlobalOptions } from '../../context.js';
import { formatBytes } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs gc` */
export async function run(options: Options): Promise<void> {
  await withStore(options, async (store) => {
    const freed = await store.gc();
    if (options.json === true) return printJson(freed);
    if (options.quiet !== true) {
      print(`freed ${formatBytes(freed.bytes)}: ${freed.layers} layers, ${freed.objects} objects`);
    }
  });
}
