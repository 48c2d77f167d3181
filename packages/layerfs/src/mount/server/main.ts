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
// From the very start, so that no signal can leave a mount without a server; they are heard when there is a loop.
let signals = 0;
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, stop);

let serving: Serving | undefined;
try {
  serving = await startServing(plan, [eventLoopFd()]);
} catch (error) {
  const code = error instanceof LayerfsError ? error.code : 'internal';
  report({ failed: { code, message: error instanceof Error ? error.message : String(error) } });
  process.exitCode = 1;
}
if (serving !== undefined) {
  // Asked to stop before there was anything to unmount.
  if (signals > 0) goAway();
  report({ ready: serving.info });
  letGoOfTerminal();
  trimMappedPages();
  await serveToTheEnd(serving);
  process.exit();
}

function stop(): void {
  // Asked twice: whoever still uses the mount gets errors from now on.
  if (++signals > 1) process.exit(1);
  goAway();
}

// At once out of sight; users who have something open are served until they let go.
function goAway(): void {
  detach(plan.info.mountpoint, { lazy: true }).catch((error: unknown) => {
    // Not mounted yet: it is tried again as soon as it is.
    if (serving !== undefined) throw error;
  });
}

async function serveToTheEnd(serving: Serving): Promise<void> {
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
