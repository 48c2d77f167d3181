import { LayerfsError, type ImportProgress } from 'layerfs';
import { interruption, withStore, type GlobalOptions } from '../../context.js';
import { formatBytes, plural } from '../../format.js';
import { note, print, printJson } from '../../output.js';
import { Progress, progressScreen } from '../../progress.js';
import { printTakenIn } from './taken-in.js';

interface Options extends GlobalOptions {
  readonly name?: string;
  readonly platform?: string;
  readonly maxLayerSize?: number;
  readonly json?: boolean;
}

/** `layerfs import PATH` */
export async function run(path: string, options: Options): Promise<void> {
  if (path === '-' && process.stdin.isTTY) {
    throw new LayerfsError('invalid-argument', 'standard input is a terminal: pipe an archive in');
  }
  const signal = interruption();
  const progress = new Progress(progressScreen(options));
  const onProgress = (event: ImportProgress): void => {
    if (event.kind === 'layer') progress.layer(event);
    else if (event.kind === 'note' && options.quiet !== true && options.json !== true) {
      progress.clear();
      note(`layerfs: ${event.message}`);
    }
  };
  await withStore(options, async (store) => {
    const result = await store
      .import(path === '-' ? process.stdin : path, {
        ...(options.name === undefined ? {} : { name: options.name }),
        ...(options.platform === undefined ? {} : { platform: options.platform }),
        ...(options.maxLayerSize === undefined ? {} : { maxLayerSize: options.maxLayerSize }),
        onProgress,
        signal,
      })
      .finally(() => {
        progress.clear();
        // Given up by an error, its pipe would keep newer Nodes running until the other end closes it.
        if (path === '-') process.stdin.destroy();
      });
    if (options.json === true) return printJson(result);
    printTakenIn('imported', result.images, options.quiet === true);
    if (options.quiet !== true && result.newObjects > 0) {
      print(`stored ${formatBytes(result.newBytes)} in ${plural(result.newObjects, 'new object')}`);
    }
  });
}
