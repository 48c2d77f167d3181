import type { Store } from 'layerfs';

/** Options that every command has. */
export interface GlobalOptions {
  readonly root?: string;
  readonly quiet?: boolean;
}

let controller: AbortController | undefined;

/**
 * A signal that fires at Ctrl-C, SIGTERM or SIGHUP, for commands that have something to clean up; the second Ctrl-C ends
 * the program at once. Commands that never ask for it are ended by these signals as any program is.
 */
export function interruption(): AbortSignal {
  if (controller !== undefined) return controller.signal;
  const created = new AbortController();
  controller = created;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (created.signal.aborted) process.exit(130);
      created.abort();
    });
  }
  return created.signal;
}

/** Whether a command was asked to stop. */
export function wasInterrupted(): boolean {
  return controller?.signal.aborted === true;
}

/** Opens the store, hands it to `action` and closes it again. */
export async function withStore<T>(options: GlobalOptions, action: (store: Store) => Promise<T> | T): Promise<T> {
  // Not all of layerfs: loading what mounts need would take a command that mounts nothing a good part of its time.
  const { openStore } = await import('layerfs/store');
  const store = await openStore(options.root === undefined ? {} : { root: options.root });
  try {
    return await action(store);
  } finally {
    await store.close();
  }
}
