import { LayerfsError, openStore, type Store } from 'layerfs';

/** Options that every command has. */
export interface GlobalOptions {
  readonly root?: string;
  readonly quiet?: boolean;
}

const controller = new AbortController();

/** Fires at Ctrl-C or SIGTERM: commands stop, clean up and leave. */
export const interrupted: AbortSignal = controller.signal;

/** Turns the first Ctrl-C into an orderly end; the second one ends at once. */
export function watchSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(130);
      controller.abort(new LayerfsError('aborted', 'interrupted'));
    });
  }
}

/** Opens the store, hands it to `action` and closes it again. */
export async function withStore<T>(options: GlobalOptions, action: (store: Store) => Promise<T> | T): Promise<T> {
  const store = await openStore(options.root === undefined ? {} : { root: options.root });
  try {
    return await action(store);
  } finally {
    await store.close();
  }
}
