import { withStore, type GlobalOptions } from '../../context.js';
import { formatAge, table } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs snapshots` */
export async function run(options: Options): Promise<void> {
  await withStore(options, (store) => {
    const snapshots = store.snapshots();
    if (options.json === true) return printJson(snapshots);
    if (options.quiet === true) {
      for (const { name } of snapshots) print(name);
      return;
    }
    if (snapshots.length === 0) return print(`no snapshots in ${store.root}`);
    print(
      table([
        ['NAME', 'IMAGE', 'CREATED', 'MOUNTED AT'],
        ...snapshots.map(({ name, ref, created, mountpoints }) => [
          name,
          ref,
          formatAge(created),
          mountpoints.length === 0 ? '-' : mountpoints.join(', '),
        ]),
      ]),
    );
  });
}
