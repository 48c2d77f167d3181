import type { RemoveResult } from 'layerfs';
import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, plural } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly force?: boolean;
  readonly json?: boolean;
}

/** `layerfs rmi IMAGE…` */
export async function run(images: readonly string[], options: Options): Promise<void> {
  const signal = interruption();
  await withStore(options, async (store) => {
    const results: RemoveResult[] = [];
    try {
      for (const image of images) {
        const result = await store.removeImage(image, { force: options.force === true, signal });
        results.push(result);
        if (options.json !== true && options.quiet !== true) report(result);
      }
    } finally {
      // What was removed before a later one failed is told as well.
      if (options.json === true) printJson(results);
    }
  });
}

function report(result: RemoveResult): void {
  for (const name of result.untagged) print(`untagged ${name}`);
  for (const digest of result.deleted) print(`deleted ${digest}`);
  for (const mountpoint of result.pinned) print(`its layers stay until ${mountpoint} is unmounted`);
  for (const name of result.snapshots) print(`its layers stay until the snapshot ${name} is removed`);
  if (result.freedObjects > 0) {
    print(`freed ${formatBytes(result.freedBytes)} in ${plural(result.freedObjects, 'object')}`);
  }
}
