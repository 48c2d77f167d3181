import { LayerfsError } from 'layerfs';
import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes } from '../../format.js';
import { note, printJson } from '../../output.js';
import { Progress, progressScreen } from '../../progress.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs export IMAGE OUT` */
export async function run(image: string, out: string, options: Options): Promise<void> {
  if (out === '-' && process.stdout.isTTY) {
    throw new LayerfsError('invalid-argument', 'standard output is a terminal: pipe it, or name a file');
  }
  const signal = interruption();
  const progress = new Progress(progressScreen(options));
  await withStore(options, async (store) => {
    const result = await store
      .export(image, out === '-' ? process.stdout : out, { onProgress: (event) => progress.layer(event), signal })
      .finally(() => progress.clear());
    if (options.json === true && out !== '-') return printJson(result);
    if (options.quiet === true) return;
    // On standard error: standard output may be the archive itself.
    const where = out === '-' ? 'standard output' : out;
    note(`exported ${image} to ${where}: ${result.digest}, ${formatBytes(result.bytes)}`);
    if (result.rebuilt) note('its compressed blobs were dropped: layers are uncompressed, with the same diffIDs');
  });
}
