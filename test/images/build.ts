/**
 * Builds the test images into the cache: `node test/dist/images/build.js [NAME...]`, all of them by default.
 * With `--path NAME [VARIANT]` it prints the path of one, for scripts and benchmarks.
 */
import { cacheFolder } from './cache.js';
import { IMAGE_NAMES, ImageUnavailable, testImage, VARIANTS, type ImageName, type Variant } from './index.js';

const say = (text: string): void => console.error(text);

function imageName(text: string): ImageName {
  const found = IMAGE_NAMES.find((name) => name === text);
  if (found === undefined) throw new ImageUnavailable(`no test image ${text}; there are ${IMAGE_NAMES.join(', ')}`);
  return found;
}

function variantName(text: string): Variant {
  const found = VARIANTS.find((variant) => variant === text);
  if (found === undefined) throw new ImageUnavailable(`no variant ${text}; there are ${VARIANTS.join(', ')}`);
  return found;
}

async function buildAll(names: readonly ImageName[]): Promise<void> {
  console.error(`test images in ${cacheFolder()}`);
  for (const name of names) {
    let complete = true;
    const variants: readonly Variant[] = name === 'mini' || name === 'debian' ? VARIANTS : ['oci-gzip'];
    for (const variant of variants) {
      try {
        await testImage(name, variant, { say });
      } catch (error) {
        if (!(error instanceof ImageUnavailable)) throw error;
        console.error(`${name}, ${variant}: left out: ${error.message}`);
        complete = false;
        process.exitCode = 1;
      }
    }
    if (complete) console.error(`${name}: ready`);
  }
}

const args = process.argv.slice(2);
try {
  if (args[0] === '--path')
    console.log((await testImage(imageName(args[1] ?? ''), variantName(args[2] ?? 'oci-gzip'), { say })).path);
  else await buildAll(args.length > 0 ? args.map(imageName) : IMAGE_NAMES);
} catch (error) {
  if (!(error instanceof ImageUnavailable)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
