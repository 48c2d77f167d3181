import { PARTS, type StoreSize } from 'layerfs';
import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, plural, table } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs du` */
export async function run(options: Options): Promise<void> {
  const signal = interruption();
  await withStore(options, async (store) => {
    const usage = await store.usage({ signal });
    if (options.json === true) return printJson(usage);
    const rows = usage.images.map((image) => [
      image.name ?? image.digest,
      formatBytes(image.total),
      formatBytes(image.shared),
      formatBytes(image.unique),
      formatBytes(image.disk.total),
      formatBytes(image.disk.unique),
    ]);
    print(table([['IMAGE', 'TOTAL', 'SHARED', 'UNIQUE', 'ON DISK', 'ALONE'], ...rows], [1, 2, 3, 4, 5]));
    print('');
    if (usage.snapshots.length > 0) {
      const snapshots = usage.snapshots.map(({ name, ref, bytes }) => [name, ref, formatBytes(bytes)]);
      print(table([['SNAPSHOT', 'IMAGE', 'CHANGES'], ...snapshots], [2]));
      print('');
    }
    print(sizes(usage.disk));
    print('');
    print(`content   ${formatBytes(usage.objects.bytes)} in ${plural(usage.objects.count, 'object')}`);
    print(
      `blobs     ${formatBytes(usage.blobs.bytes)} in ${plural(usage.blobs.count, 'file')} (layerfs prune --blobs drops layers)`,
    );
    print(`saved     ${formatBytes(usage.savedByDedup)} by keeping equal files once`);
  });
}

/** What each part of the folder is, in words. */
const WHAT = {
  objects: 'content of files',
  blobs: 'manifests, configs, compressed layers',
  layers: 'trees, tar records, object lists',
  chains: 'merged trees (made again when missing)',
  snapshots: 'what was changed in snapshots',
  mounts: 'the list of mounts',
  ingest: 'work under way',
  trash: 'taken away, about to be deleted',
  quarantine: 'damaged, put aside',
  meta: 'records',
  other: 'the rest',
} as const;

function sizes({ total, parts }: StoreSize): string {
  const rows = PARTS.filter((part) => parts[part].bytes > 0).map((part) => [
    part,
    formatBytes(parts[part].bytes),
    `${parts[part].entries}`,
    WHAT[part],
  ]);
  return table(
    [['ON DISK', 'SIZE', 'ENTRIES', ''], ...rows, ['all', formatBytes(total), '', 'as du of the folder']],
    [1, 2],
  );
}
