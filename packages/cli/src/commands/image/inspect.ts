import { withStore, type GlobalOptions } from '../../context.js';
import { printJson } from '../../output.js';

/** `layerfs inspect IMAGE`: always JSON. */
export async function run(image: string, options: GlobalOptions): Promise<void> {
  await withStore(options, (store) => printJson(store.image(image)));
}
