import { unmount } from 'layerfs';
import { withStore, type GlobalOptions } from '../../context.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly lazy?: boolean;
  readonly json?: boolean;
}

/** `layerfs unmount MOUNTPOINT` */
export async function run(mountpoint: string, options: Options): Promise<void> {
  await withStore(options, async (store) => {
    const info = await unmount(store.root, mountpoint, { lazy: options.lazy === true });
    if (options.json === true) return printJson(info);
    if (options.quiet !== true) print(`unmounted ${info.ref} from ${info.mountpoint}`);
  });
}
