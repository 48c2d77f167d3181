import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { trimMappedPages } from '@layerfs/linux';
import {
  Metrics,
  openSnapshotter,
  serve,
  serveMetrics,
  type Answered,
  type ListenOn,
  type MountMode,
  type SealWhen,
  type Snapshotter,
} from '@layerfs/snapshotter';
import { LayerfsError, type Store } from 'layerfs';
import { pino, type Logger } from 'pino';
import { groupID } from './group.js';
import { activatedSocket, notify } from './systemd.js';
import { interruption, withStore, type GlobalOptions } from '../../context.js';

interface Options extends GlobalOptions {
  readonly socket?: string;
  /** Permission bits. */
  readonly socketMode?: number;
  readonly socketGroup?: string;
  readonly metrics?: string;
  readonly mountMode?: MountMode;
  readonly seal?: SealWhen;
}

/** How long nobody asks for anything before what starting up took is given back. */
const REST_MS = 10_000;

/** `layerfs snapshotter serve` */
export async function run(action: string, options: Options): Promise<void> {
  if (action !== 'serve') throw new LayerfsError('invalid-argument', `There is no action ${action}: it is serve`);
  const on = listenOn(options);
  const signal = interruption();
  const log = pino({ level: options.quiet === true ? 'error' : 'info' }, pino.destination({ dest: 2, sync: true }));
  // The store is open as long as the service runs: its version was checked, and stays.
  await withStore(options, async (store) => {
    const root = join(store.root, 'snapshotter');
    const snapshotter = openSnapshotter({
      root,
      store,
      ...(options.mountMode === undefined ? {} : { mountMode: options.mountMode }),
      ...(options.seal === undefined ? {} : { seal: options.seal }),
      onProblem: (error) => log.error({ err: error }, 'in the background'),
    });
    try {
      await serveUntil(signal, { store, snapshotter, root, on, options, log });
    } finally {
      await snapshotter.close();
    }
  });
}

function listenOn({ socket, socketMode: mode, socketGroup: group }: Options): ListenOn {
  const fd = activatedSocket();
  if (fd !== undefined) return { fd };
  if (socket === undefined) {
    throw new LayerfsError('invalid-argument', 'There is no socket: give --socket PATH, or let systemd hand one over');
  }
  return {
    path: socket,
    ...(mode === undefined ? {} : { mode }),
    ...(group === undefined ? {} : { group: groupID(group) }),
  };
}

interface Served {
  readonly store: Store;
  readonly snapshotter: Snapshotter;
  readonly root: string;
  readonly on: ListenOn;
  readonly options: Options;
  readonly log: Logger;
}

async function serveUntil(signal: AbortSignal, { store, snapshotter, root, on, options, log }: Served): Promise<void> {
  const metrics =
    options.metrics === undefined
      ? undefined
      : new Metrics({ snapshotter, root, totals: () => store.totals(), version: version() });
  const numbers = metrics === undefined ? undefined : await serveMetrics(metrics, options.metrics ?? '');
  let rested = false;
  const rest = setTimeout(() => {
    // Once: what is used after it is what serving needs.
    rested = true;
    giveBack(log);
  }, REST_MS).unref();
  try {
    const service = await serve(snapshotter, {
      on,
      onAnswered: (request) => {
        if (!rested) rest.refresh();
        metrics?.count(request);
        logRequest(log, request);
      },
    });
    const where = 'path' in on ? { socket: on.path } : { fd: on.fd };
    log.info({ ...where, root: store.root, metrics: numbers?.address }, 'serving');
    tell('READY=1', log);
    await new Promise<void>((done) => {
      if (signal.aborted) done();
      else signal.addEventListener('abort', () => done(), { once: true });
    });
    tell('STOPPING=1', log);
    await service.stop();
    log.info('stopped');
  } finally {
    clearTimeout(rest);
    await numbers?.stop();
  }
}

/** Half of what the process takes is Node's program, of which starting up needs the most. */
function giveBack(log: Logger): void {
  try {
    trimMappedPages('all');
  } catch (error) {
    log.warn({ err: error }, 'memory was not given back');
  }
}

function tell(state: string, log: Logger): void {
  try {
    notify(state);
  } catch (error) {
    log.warn({ err: error }, `systemd could not be told ${state}`);
  }
}

function logRequest(log: Logger, { method, namespace, key, milliseconds, error }: Answered): void {
  const about = { method, namespace, key: key.slice(0, 200), ms: Math.round(milliseconds * 1000) / 1000 };
  if (error === undefined) log.info(about, 'request');
  else log.warn({ ...about, error: error.message }, 'request failed');
}

function version(): string {
  const file = new URL('../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
