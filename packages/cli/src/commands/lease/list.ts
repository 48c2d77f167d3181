import type { Lease } from 'layerfs';
import { withStore, type GlobalOptions } from '../../context.js';
import { formatAge, shortDigest, table } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs leases` */
export async function run(options: Options): Promise<void> {
  await withStore(options, (store) => {
    const leases = store.leases.list();
    if (options.json === true) return printJson(leases);
    if (options.quiet === true) {
      for (const { id } of leases) print(id);
      return;
    }
    const rows = leases.map((lease) => [lease.id, formatAge(lease.created), lease.expires, kept(lease), lease.label]);
    print(table([['LEASE', 'CREATED', 'EXPIRES', 'KEEPS', 'LABEL'], ...rows]));
  });
}

function kept({ images, layers, snapshots }: Lease): string {
  return [...images.map(shortDigest), ...layers.map((each) => `layer ${shortDigest(each)}`), ...snapshots].join(' ');
}
