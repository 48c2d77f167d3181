/** A store of very many layers and objects, made by importing images of small files. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { openStore } from 'layerfs';
import { LayoutWriter } from './layout.js';

/** Layers of an image. */
export const LAYERS_PER_IMAGE = 10;
/** Files of a layer, each of them found nowhere else. */
export const FILES_PER_LAYER = 100;
/** Images that are imported at once: each import ends with the disk. */
const IMAGES_PER_IMPORT = 20;
const BLOCK = 512;
const TIME = 1_700_000_000;

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
    if (file % 10 === 0) pieces.push(header(`${folder}/`, '5', 0));
    const line = `file ${file} of layer ${layer} of image ${image}\n`;
    const content = Buffer.from(line.repeat(1 + (file % 10)));
    pieces.push(header(`${folder}/file-${file}`, '0', content.length), content);
    pieces.push(Buffer.alloc(-content.length & (BLOCK - 1)));
  }
  return Buffer.concat([...pieces, Buffer.alloc(2 * BLOCK)]);
}

function header(path: string, type: string, size: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, digits: number): void => {
    bytes.write(value.toString(8).padStart(digits, '0'), at, 'latin1');
  };
  bytes.write(path, 0, 'latin1');
  octal(type === '5' ? 0o755 : 0o644, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(size, 124, 11);
  octal(TIME, 136, 11);
  bytes.write(type, 156, 'latin1');
  bytes.write('ustar\x0000', 257, 'latin1');
  bytes.fill(' ', 148, 156);
  octal(
    bytes.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  );
  bytes[154] = 0;
  return bytes;
}
