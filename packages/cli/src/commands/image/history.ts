import { withStore, type GlobalOptions } from '../../context.js';
import { formatAge, formatBytes, oneLine, shortDigest, table } from '../../format.js';
import { print, printJson } from '../../output.js';

interface Options extends GlobalOptions {
  readonly json?: boolean;
}

/** `layerfs history IMAGE` */
export async function run(image: string, options: Options): Promise<void> {
  await withStore(options, (store) => {
    const history = store.history(image);
    if (options.json === true) return printJson(history);
    const width = Math.max(40, (process.stdout.columns ?? 120) - 50);
    print(
      table(
        [
          ['LAYER', 'CREATED', 'SIZE', 'CREATED BY'],
          ...history.map((step) => [
            step.diffID === undefined ? '-' : shortDigest(step.diffID),
            formatAge(step.created),
            step.empty ? '-' : formatBytes(step.size),
            oneLine(step.createdBy ?? step.comment ?? '').slice(0, width),
          ]),
        ],
        [2],
      ),
    );
  });
}
