/**
 * Serves one mount in a worker thread of the process that called `mount()`. workerData is a {@link WorkerPlan};
 * the one message sent is a ServeReport.
 */
import { parentPort } from 'node:worker_threads';
import { NativeThread, ownThread } from '@layerfs/linux/thread';
import { LayerfsError } from '../../core/error.js';
import { detach } from '../registry/detach.js';
import type { ServePlan, ServeReport } from './plan.js';
import { IDLE_MILLIS, startServing, type Serving } from './serve.js';

/** What the worker gets. */
export interface WorkerPlan {
  readonly plan: ServePlan;
  /** An eventfd: readable means stop serving, the process is ending. */
  readonly stop: number;
}

const thread = ownThread<WorkerPlan>();
const { plan, stop } = thread.data;

function report(message: ServeReport): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window
  parentPort?.postMessage(message);
}

let serving: Serving | undefined;
try {
  serving = await startServing(plan, [stop], false);
} catch (error) {
  const code = error instanceof LayerfsError ? error.code : 'internal';
  report({ failed: { code, message: error instanceof Error ? error.message : String(error) } });
}
if (serving !== undefined) {
  // The process has begun to end meanwhile, and does not know of the mount.
  if (thread.ending) await detach(plan.info.mountpoint, { lazy: true });
  report({ ready: serving.info });
  for (;;) {
    const result = serving.loop.run(IDLE_MILLIS);
    if (result === 'idle') {
      serving.flush();
      serving.sleep();
    } else if (result !== 'deferred' && (result !== 'woken' || !serving.resume())) break;
  }
}
// Node stops the threads of this one with it.
NativeThread.endAll();
thread.rest();
// Nothing may keep this thread: the port would.
parentPort?.close();
