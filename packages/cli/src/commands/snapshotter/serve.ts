import { join } from 'node:path';
import { openSnapshotter, serve, type Answered } from '@layerfs/snapshotter';
import { LayerfsError } from 'layerfs';
import { pino, type Logger } from 'pino';
import { interruption, withStore, type GlobalOptions } from '../../context.js';

interface Options extends GlobalOptions {
  readonly socket: string;
}

/** `layerfs snapshotter serve` */
export async function run(action: string, options: Options): Promise<void> {
  if (action !== 'serve') throw new LayerfsError('invalid-argument', `There is no action ${action}: it is serve`);
  const signal = interruption();
  const log = pino({ level: options.quiet === true ? 'error' : 'info' }, pino.destination({ dest: 2, sync: true }));
  // The store is open as long as the service runs: its version was checked, and stays.
  await withStore(options, async (store) => {
    const snapshotter = openSnapshotter({
      root: join(store.root, 'snapshotter'),
      onProblem: (error) => log.error({ err: error }, 'in the background'),
    });
    try {
      const service = await serve(snapshotter, {
        socket: options.socket,
        onAnswered: (request) => logRequest(log, request),
      });
      log.info({ socket: options.socket, root: store.root }, 'serving');
      await new Promise<void>((done) => {
        if (signal.aborted) done();
        else signal.addEventListener('abort', () => done(), { once: true });
      });
      await service.stop();
      log.info('stopped');
    } finally {
      await snapshotter.close();
    }
  });
}

function logRequest(log: Logger, { method, namespace, key, milliseconds, error }: Answered): void {
  const about = { method, namespace, key: key.slice(0, 200), ms: Math.round(milliseconds * 1000) / 1000 };
  if (error === undefined) log.info(about, 'request');
  else log.warn({ ...about, error: error.message }, 'request failed');
}
