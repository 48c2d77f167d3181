import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly for?: number;
  readonly label?: string;
  readonly renew?: string;
  readonly json?: boolean;
}

/** A day. */
const DEFAULT = 24 * 3600 * 1000;

/** `layerfs lease IMAGE…` */
export async function run(images: readonly string[], options: Options): Promise<void> {
  const { label, renew, for: expires = DEFAULT } = options;
  const signal = interruption();
  await withStore(options, async (store) => {
    const lease =
      renew === undefined
        ? await store.leases.create({ images, expires, ...(label === undefined ? {} : { label }), signal })
        : await store.leases.renew(renew, { expires, signal });
    if (options.json === true) return printJson(lease);
    print(options.quiet === true ? lease.id : `lease ${lease.id} until ${lease.expires}`);
  });
}
