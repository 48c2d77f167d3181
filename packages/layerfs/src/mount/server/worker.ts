/**
 * Serves one mount in a worker thread of the process that called `mount()`. workerData is a {@link WorkerPlan};
 * the one message sent is a ServeReport.
 */
import { parentPort } from 'node:worker_threads';
import { NativeThread, ownThread } from '@layerfs/linux/thread';
import { LayerfsError } from '../../core/error.js';
import { detach } from '../registry/detach.js';
import { claimMount, setMounted } from './place.js';
import type { ServePlan, ServeReport } from './plan.js';
import { IDLE_MILLIS, startServing, type Serving } from './serve.js';

/** What the worker gets. */
export interface WorkerPlan {
  readonly plan: ServePlan;
  /** An eventfd: readable means stop serving, the process is ending. */
  readonly stop: number;
  /** See place.ts. */
  readonly place: Int32Array;
}

const thread = ownThread<WorkerPlan>();
const { plan, stop, place } = thread.data;

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
  setMounted(place);
  // The process has begun to end meanwhile.
  if (thread.ending && claimMount(place)) await detach(plan.info.mountpoint, { lazy: true });
  report({ ready: serving.info });
  for (;;) {
    const result = serving.loop.run(IDLE_MILLIS);
    if (result === 'idle') {
      serving.flush();
      serving.sleep();
    } else if (result !== 'deferred' && (result !== 'woken' || !serving.resume())) break;
  }
  // Unmounted, or for the process that ends to take away.
  claimMount(place);
}
// Node stops the threads of this one with it.
NativeThread.endAll();
thread.rest();
// Nothing may keep this thread: the port would.
parentPort?.close();
