/**
 * The background server that `layerfs mount` leaves behind: serves one mount in the main thread. It gets a ServePlan
 * on standard input and answers with a ServeReport on descriptor 3. It loads as little as possible, because its
 * memory is there for as long as the mount: no store, no database.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dup2, eventLoopFd } from '@layerfs/linux';
import { LayerfsError } from '../../core/error.js';
import { detach } from '../registry/detach.js';
import type { ServePlan, ServeReport } from './plan.js';
import { IDLE_MILLIS, startServing, type Serving } from './serve.js';
import { trimMappedPages } from './trim.js';

const REPORT = 3;

const plan = JSON.parse(readFileSync(0, 'utf8')) as ServePlan;
process.title = 'layerfs';
// The terminal that started us may go away.
process.on('SIGHUP', () => undefined);

let serving: Serving | undefined;
try {
  serving = await startServing(plan, [eventLoopFd()]);
} catch (error) {
  const code = error instanceof LayerfsError ? error.code : 'internal';
  report({ failed: { code, message: error instanceof Error ? error.message : String(error) } });
  process.exitCode = 1;
}
if (serving !== undefined) {
  report({ ready: serving.info });
  letGoOfTerminal();
  trimMappedPages();
  await serveToTheEnd(serving);
  process.exit();
}

async function serveToTheEnd(serving: Serving): Promise<void> {
  let asked = 0;
  const stop = (): void => {
    // Asked twice: whoever still uses the mount gets errors from now on.
    if (++asked > 1) process.exit(1);
    // At once out of sight; users who have something open are served until they let go.
    void detach(serving.info.mountpoint, { lazy: true });
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  for (;;) {
    const result = serving.loop.run(IDLE_MILLIS);
    if (result === 'empty') return;
    if (result === 'idle') {
      serving.flush();
      trimMappedPages();
      serving.sleep();
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function report(message: ServeReport): void {
  writeSync(REPORT, `${JSON.stringify(message)}\n`);
  closeSync(REPORT);
}

function letGoOfTerminal(): void {
  const nothing = openSync('/dev/null', 'r+');
  for (const fd of [0, 1, 2]) dup2(nothing, fd);
  closeSync(nothing);
}
