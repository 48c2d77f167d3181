import { offerLayers } from '@layerfs/snapshotter';
import { withStore, type GlobalOptions } from '../../context.js';
import { print } from '../../output.js';

interface Options extends GlobalOptions {
  readonly address: string;
  readonly namespace: string;
  readonly snapshotter: string;
  /** Milliseconds. */
  readonly for?: number;
}

/** A day. */
const DEFAULT = 24 * 3600 * 1000;

/** `layerfs offer IMAGE` */
export async function run(image: string, options: Options): Promise<void> {
  await withStore(options, async (store) => {
    const diffIDs = store.image(image).layers.map(({ diffID }) => diffID);
    const lease = await offerLayers(diffIDs, { ...options, milliseconds: options.for ?? DEFAULT });
    print(options.quiet === true ? lease : `containerd has ${diffIDs.length} layers of ${image}, lease ${lease}`);
  });
}
