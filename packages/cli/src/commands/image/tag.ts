import { withStore, type GlobalOptions } from '../../context.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs tag IMAGE NAME` */
export async function run(image: string, name: string, options: Options): Promise<void> {
  await withStore(options, (store) => {
    const tagged = store.tag(image, name);
    if (options.json === true) return printJson(tagged);
    if (options.quiet !== true) print(`${tagged.name ?? name} is ${tagged.digest}`);
  });
}
