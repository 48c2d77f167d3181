import { withStore, type GlobalOptions } from '../../context.js';
import { formatAge, formatBytes, shortDigest, table } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs images` */
export async function run(options: Options): Promise<void> {
  await withStore(options, (store) => {
    const images = store.images();
    if (options.json === true) return printJson(images);
    if (options.quiet === true) {
      for (const image of images) print(image.name ?? image.digest);
      return;
    }
    if (images.length === 0) return print(`no images in ${store.root}: take one in with layerfs import`);
    print(
      table(
        [
          ['NAME', 'IMAGE', 'PLATFORM', 'CREATED', 'LAYERS', 'SIZE'],
          ...images.map((image) => [
            image.name ?? '<none>',
            shortDigest(image.digest),
            image.platform,
            formatAge(image.created),
            String(image.layers),
            formatBytes(image.size),
          ]),
        ],
        [4, 5],
      ),
    );
  });
}
