import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly force?: boolean;
  readonly json?: boolean;
}

/** `layerfs rmi IMAGE…` */
export async function run(images: readonly string[], options: Options): Promise<void> {
  const signal = interruption();
  await withStore(options, async (store) => {
    const results = [];
    for (const image of images) results.push(await store.removeImage(image, { force: options.force === true, signal }));
    if (options.json === true) return printJson(results);
    if (options.quiet === true) return;
    for (const result of results) {
      for (const name of result.untagged) print(`untagged ${name}`);
      for (const digest of result.deleted) print(`deleted ${digest}`);
      for (const mountpoint of result.pinned) print(`its layers stay until ${mountpoint} is unmounted`);
      if (result.freedObjects > 0) print(`freed ${formatBytes(result.freedBytes)} in ${result.freedObjects} objects`);
    }
  });
}
