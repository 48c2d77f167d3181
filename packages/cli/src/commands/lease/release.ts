import type { Lease } from 'layerfs';
import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs unlease LEASE…` */
export async function run(ids: readonly string[], options: Options): Promise<void> {
  const signal = interruption();
  await withStore(options, async (store) => {
    const released: Lease[] = [];
    try {
      for (const id of ids) {
        released.push(await store.leases.release(id, { signal }));
        if (options.json !== true && options.quiet !== true) print(`released ${id}`);
      }
    } finally {
      // What was given back before a later one failed is told as well.
      if (options.json === true) printJson(released);
    }
  });
}
