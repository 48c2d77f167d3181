import type { RemoveSnapshotResult } from 'layerfs';
import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, plural } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs rm SNAPSHOT…` */
export async function run(names: readonly string[], options: Options): Promise<void> {
  const signal = interruption();
  await withStore(options, async (store) => {
    const results: RemoveSnapshotResult[] = [];
    try {
      for (const name of names) {
        const result = await store.removeSnapshot(name, { signal });
        results.push(result);
        if (options.json !== true && options.quiet !== true) report(result);
      }
    } finally {
      // What was removed before a later one failed is told as well.
      if (options.json === true) printJson(results);
    }
  });
}

function report({ name, freedBytes, freedObjects }: RemoveSnapshotResult): void {
  print(`removed ${name}`);
  if (freedObjects > 0) print(`freed ${formatBytes(freedBytes)} in ${plural(freedObjects, 'object')} of its image`);
}
