import { once } from 'node:events';
import { withStore, type GlobalOptions } from '../../context.js';

/** `layerfs cat IMAGE PATH` */
export async function run(image: string, path: string, options: GlobalOptions): Promise<void> {
  await withStore(options, async (store) => {
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      // `layerfs cat … | head` closes the pipe: nobody wants the rest.
      if (error.code === 'EPIPE') process.exit(0);
      throw error;
    });
    const { content } = await store.readFile(image, path);
    for await (const chunk of content) {
      if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
    }
  });
}
