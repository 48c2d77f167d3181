import { BusyError, unmount } from 'layerfs';
import { withStore, type GlobalOptions } from '../../context.js';
import { note, print } from '../../output.js';

interface Options extends GlobalOptions {
  readonly lazy?: boolean;
}

/** `layerfs unmount MOUNTPOINT` */
export async function run(mountpoint: string, options: Options): Promise<void> {
  await withStore(options, async (store) => {
    try {
      const info = await unmount(store.root, mountpoint, { lazy: options.lazy === true });
      if (options.quiet !== true) print(`unmounted ${info.ref} from ${info.mountpoint}`);
    } catch (error) {
      if (error instanceof BusyError && options.quiet !== true) {
        note('layerfs: end what uses it, or unmount with --lazy');
      }
      throw error;
    }
  });
}
