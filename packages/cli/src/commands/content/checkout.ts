import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, plural } from '../../format.js';
import { note, print, printJson } from '../../output.js';
import { Progress, progressScreen } from '../../progress.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

const NOTES = 10;

/** `layerfs checkout IMAGE FOLDER` */
export async function run(image: string, folder: string, options: Options): Promise<void> {
  const signal = interruption();
  const progress = new Progress(progressScreen(options));
  await withStore(options, async (store) => {
    const result = await store
      .checkout(image, folder, {
        onProgress: ({ entries, of, bytes }) => progress.update('checkout', `${entries} of ${of} entries`, bytes, 0),
        signal,
      })
      .finally(() => progress.clear());
    if (options.json === true) return printJson(result);
    if (options.quiet === true) return;
    for (const text of result.notes.slice(0, NOTES)) note(`layerfs: ${text}`);
    if (result.notes.length > NOTES) note(`layerfs: and ${result.notes.length - NOTES} more (--json lists all)`);
    print(`wrote ${plural(result.entries, 'entry', 'entries')}, ${formatBytes(result.bytes)}, to ${folder}`);
  });
}
