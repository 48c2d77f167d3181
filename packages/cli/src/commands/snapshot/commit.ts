import { freezeSnapshot } from 'layerfs';
import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, plural } from '../../format.js';
import { note, print, printJson } from '../../output.js';
import { Progress, progressScreen } from '../../progress.js';
import { snapshotName } from './target.js';

interface Options extends GlobalOptions {
  readonly message?: string;
  readonly author?: string;
  readonly allowEmpty?: boolean;
  readonly json?: boolean;
}

/** `layerfs commit SNAPSHOT NAME` */
export async function run(target: string, name: string, options: Options): Promise<void> {
  const signal = interruption();
  const progress = new Progress(progressScreen(options));
  await withStore(options, async (store) => {
    const snapshot = snapshotName(store, target);
    const result = await store
      .commit(snapshot, name, {
        ...(options.message === undefined ? {} : { message: options.message }),
        ...(options.author === undefined ? {} : { author: options.author }),
        allowEmpty: options.allowEmpty === true,
        freeze: () => freezeSnapshot(store.root, snapshot),
        onProgress: (event) => {
          if (event.kind === 'layer' && event.state === 'reading') progress.update('commit', 'layer', event.done, 0);
        },
        signal,
      })
      .finally(() => progress.clear());
    if (options.json === true) return printJson(result);
    const { image, added, changed, deleted, newBytes } = result;
    if (options.quiet === true) return print(image.name ?? image.digest);
    for (const text of result.notes) note(`layerfs: ${text}`);
    const layer = image.layers.at(-1);
    print(`${image.name ?? name} is ${image.digest}`);
    print(
      `${added} added, ${changed} changed, ${deleted} deleted: ${plural(layer?.entries ?? 0, 'entry', 'entries')}, ` +
        `${formatBytes(layer?.size ?? 0)} compressed, ${formatBytes(newBytes)} new in the store`,
    );
  });
}
