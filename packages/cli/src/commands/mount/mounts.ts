import { listMounts } from 'layerfs';
import { withStore, type GlobalOptions } from '../../context.js';
import { formatAge, table } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs mounts` */
export async function run(options: Options): Promise<void> {
  await withStore(options, (store) => {
    const mounts = listMounts(store.root);
    if (options.json === true) return printJson(mounts);
    if (options.quiet === true) {
      for (const mount of mounts) print(mount.mountpoint);
      return;
    }
    if (mounts.length === 0) return print('nothing is mounted');
    print(
      table([
        ['MOUNTPOINT', 'IMAGE', 'SINCE', 'PASSTHROUGH', 'PROCESS'],
        ...mounts.map((mount) => [
          mount.mountpoint,
          mount.ref,
          formatAge(mount.since),
          mount.passthrough ? 'yes' : 'no',
          mount.kernel !== undefined
            ? 'none: kernel'
            : mount.state === 'ready'
              ? String(mount.pid)
              : 'gone: layerfs unmount cleans up',
        ]),
      ]),
    );
  });
}
