import { interrupted, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes } from '../../format.js';
import { note, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs export IMAGE OUT` */
export async function run(image: string, out: string, options: Options): Promise<void> {
  await withStore(options, async (store) => {
    const result = await store.export(image, out === '-' ? process.stdout : out, { signal: interrupted });
    if (options.json === true && out !== '-') return printJson(result);
    if (options.quiet === true) return;
    // Standard output may be the archive itself.
    note(
      `exported ${image} to ${out === '-' ? 'standard output' : out}: ${result.digest}, ${formatBytes(result.bytes)}`,
    );
    if (result.rebuilt) note('its compressed blobs were dropped: layers are uncompressed, with the same diffIDs');
  });
}
