import type { ImportResult } from 'layerfs';
import { plural, shortDigest } from '../../format.js';
import { print } from '../../output.js';

/** Prints a line for each image that was taken in; only its digest when `quiet`. @param done such as `imported` */
export function printTakenIn(done: string, images: ImportResult['images'], quiet: boolean): void {
  for (const { digest, name, platform, layers } of images) {
    if (quiet) {
      print(digest);
      continue;
    }
    const reused = layers.filter((layer) => layer.reused).length;
    const known = reused === 0 ? '' : `, ${reused === layers.length ? 'all' : reused} in the store already`;
    const called = name === undefined ? '' : `${name} `;
    print(`${done} ${called}${shortDigest(digest)} (${platform}), ${plural(layers.length, 'layer')}${known}`);
  }
}
