import { withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, table } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs du` */
export async function run(options: Options): Promise<void> {
  await withStore(options, async (store) => {
    const usage = await store.usage();
    if (options.json === true) return printJson(usage);
    const rows = usage.images.map((image) => [
      image.name ?? image.digest,
      formatBytes(image.total),
      formatBytes(image.shared),
      formatBytes(image.unique),
    ]);
    print(table([['IMAGE', 'TOTAL', 'SHARED', 'UNIQUE'], ...rows], [1, 2, 3]));
    print('');
    if (usage.snapshots.length > 0) {
      const snapshots = usage.snapshots.map(({ name, ref, bytes }) => [name, ref, formatBytes(bytes)]);
      print(table([['SNAPSHOT', 'IMAGE', 'CHANGES'], ...snapshots], [2]));
      print('');
    }
    print(`objects   ${formatBytes(usage.objects.bytes)} in ${usage.objects.count} files`);
    print(
      `blobs     ${formatBytes(usage.blobs.bytes)} in ${usage.blobs.count} files (layerfs prune --blobs drops them)`,
    );
    print(`saved     ${formatBytes(usage.savedByDedup)} by keeping equal files once`);
  });
}
