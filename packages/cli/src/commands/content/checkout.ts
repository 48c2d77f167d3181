import { interrupted, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes } from '../../format.js';
import { note, print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

const NOTES = 10;

/** `layerfs checkout IMAGE FOLDER` */
export async function run(image: string, folder: string, options: Options): Promise<void> {
  await withStore(options, async (store) => {
    const result = await store.checkout(image, folder, { signal: interrupted });
    if (options.json === true) return printJson(result);
    if (options.quiet === true) return;
    for (const text of result.notes.slice(0, NOTES)) note(`layerfs: ${text}`);
    if (result.notes.length > NOTES) note(`layerfs: and ${result.notes.length - NOTES} more (--json lists all)`);
    print(`wrote ${result.entries} entries, ${formatBytes(result.bytes)}, to ${folder}`);
  });
}
