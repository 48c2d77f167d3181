import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, plural } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs gc` */
export async function run(options: Options): Promise<void> {
  const signal = interruption();
  await withStore(options, async (store) => {
    const freed = await store.gc({ signal });
    if (options.json === true) return printJson(freed);
    if (options.quiet === true) return;
    print(`freed ${formatBytes(freed.bytes)}: ${plural(freed.layers, 'layer')}, ${plural(freed.objects, 'object')}`);
  });
}
