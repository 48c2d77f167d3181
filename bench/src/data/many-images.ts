/** A store of very many layers and objects, made by importing images of small files. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { openStore } from 'layerfs';
import { LayoutWriter } from './layout.js';
import { BLOCK, tarHeader } from './tar.js';

/** Layers of an image. */
export const LAYERS_PER_IMAGE = 10;
/** Files of a layer, each of them found nowhere else. */
export const FILES_PER_LAYER = 100;
/** Images that are imported at once: each import ends with the disk. */
const IMAGES_PER_IMPORT = 20;

/**
 * Imports `images` images, called `app-0` and so on, into a store.
 * @param scratch an empty folder for the layouts
 */
export async function importManyImages(
  root: string,
  scratch: string,
  images: number,
  onProgress: (done: number) => void = () => undefined,
): Promise<void> {
  await using store = await openStore({ root });
  for (let first = 0; first < images; first += IMAGES_PER_IMPORT) {
    const layout = new LayoutWriter(join(scratch, `layout-${first}`));
    const end = Math.min(first + IMAGES_PER_IMPORT, images);
    for (let image = first; image < end; image++) {
      const layers = Array.from({ length: LAYERS_PER_IMAGE }, (_, i) => layout.plainLayer(layerTar(image, i)));
      layout.image(layers, `app-${image}:latest`);
    }
    layout.finish();
    await store.import(layout.folder);
    rmSync(layout.folder, { recursive: true });
    onProgress(end);
  }
}

/** Ten folders of ten files. */
function layerTar(image: number, layer: number): Buffer {
  const pieces: Buffer[] = [];
  for (let file = 0; file < FILES_PER_LAYER; file++) {
    const folder = `opt/part-${layer}/folder-${Math.floor(file / 10)}`;
    if (file % 10 === 0) pieces.push(tarHeader(`${folder}/`, '5', 0));
    const line = `file ${file} of layer ${layer} of image ${image}\n`;
    const content = Buffer.from(line.repeat(1 + (file % 10)));
    pieces.push(tarHeader(`${folder}/file-${file}`, '0', content.length), content);
    pieces.push(Buffer.alloc(-content.length & (BLOCK - 1)));
  }
  return Buffer.concat([...pieces, Buffer.alloc(2 * BLOCK)]);
}
