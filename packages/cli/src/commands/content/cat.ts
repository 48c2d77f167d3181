import { pipeline } from 'node:stream/promises';
import { withStore, type GlobalOptions } from '../../context.js';

/** `layerfs cat IMAGE PATH` */
export async function run(image: string, path: string, options: GlobalOptions): Promise<void> {
  await withStore(options, async (store) => {
    const { content } = await store.readFile(image, path);
    await pipeline(content, process.stdout, { end: false });
  });
}
