import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import type { Loop } from '@layerfs/fuse';
import { dup2, eventLoopFd, trimMappedPages } from '@layerfs/linux';
import { LayerfsError } from '../../core/error.js';
import { detach } from '../registry/detach.js';
import { IDLE_MILLIS } from './serve.js';

const REPORT = 3;

/** What a background server serves, by our own loop. */
interface LoopServed {
  readonly loop: Loop;
  /** Told to who started it, as JSON. */
  readonly ready: unknown;
  /** Writes out what waits; for when nothing is to be done. */
  flush?(): void;
  /** Goes on with what waited for another thread. */
  resume?(): void;
  /** Sleeps until there is a request or a wake descriptor is readable. */
  sleep(): void;
}

/** What threads serve that are not ours. */
interface ThreadsServed {
  readonly ready: unknown;
  /** Settles when it was unmounted. */
  readonly finished: Promise<void>;
}

type Served = LoopServed | ThreadsServed;

/**
 * The life of a background server: gets its plan on standard input, says on descriptor 3 how starting went, lets go of the
 * terminal, serves until it is unmounted. SIGTERM and SIGINT unmount. It loads as little as possible, because its memory is
 * there for as long as the mount.
 */
export async function runDaemon<Plan>(
  mountpointOf: (plan: Plan) => string,
  start: (plan: Plan, wake: readonly number[]) => Promise<Served>,
): Promise<void> {
  const said = readFileSync(0, 'utf8');
  // Whoever started it has ended, or has nothing to serve after all.
  if (said === '') process.exit(1);
  const plan = JSON.parse(said) as Plan;
  const mountpoint = mountpointOf(plan);
  process.title = 'layerfs';
  // Errors are everyday answers here; where they come from is looked for with the library, not in a server.
  Error.stackTraceLimit = 0;
  // What is made through the mount gets its mode from who makes it.
  process.umask(0);
  // The terminal that started us may go away.
  process.on('SIGHUP', () => undefined);
  let serving: Served | undefined;
  // From the very start, so that no signal can leave a mount without a server; they are heard when there is a loop.
  let signals = 0;
  // At once out of sight; users who have something open are served until they let go.
  const goAway = (): void => {
    detach(mountpoint, { lazy: true }).catch((error: unknown) => {
      // Not mounted yet: it is tried again as soon as it is.
      if (serving !== undefined) throw error;
    });
  };
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      // Asked twice: whoever still uses the mount gets errors from now on.
      if (++signals > 1) process.exit(1);
      goAway();
    });
  }
  try {
    serving = await start(plan, [eventLoopFd()]);
  } catch (error) {
    const code = error instanceof LayerfsError ? error.code : 'internal';
    report({ failed: { code, message: error instanceof Error ? error.message : String(error) } });
    process.exitCode = 1;
    return;
  }
  // Asked to stop before there was anything to unmount.
  if (signals > 0) goAway();
  report({ ready: serving.ready });
  letGoOfTerminal();
  if ('loop' in serving) await serveToTheEnd(serving);
  else {
    trimMappedPages('all');
    await serving.finished;
  }
  process.exit();
}

async function serveToTheEnd(serving: LoopServed): Promise<void> {
  // What only starting up needed goes at the first rest: whoever uses a new mount at once must not wait for that.
  let unneeded: 'all' | 'shared' = 'all';
  for (;;) {
    // Also before the first sleep: what Node is to wake us for, such as signals, is watched only from its next turn on.
    await new Promise((resolve) => setImmediate(resolve));
    const result = serving.loop.run(IDLE_MILLIS);
    if (result === 'empty') return;
    if (result === 'idle') {
      serving.flush?.();
      trimMappedPages(unneeded);
      unneeded = 'shared';
      serving.sleep();
    }
    serving.resume?.();
  }
}

function report(message: unknown): void {
  writeSync(REPORT, `${JSON.stringify(message)}\n`);
  closeSync(REPORT);
}

function letGoOfTerminal(): void {
  const nothing = openSync('/dev/null', 'r+');
  for (const fd of [0, 1, 2]) dup2(nothing, fd);
  closeSync(nothing);
}
