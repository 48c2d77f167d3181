/** The background server that `layerfs mount` leaves behind: serves one mount of an image. It knows no store and no database. */
import { runDaemon } from './daemon.js';
import type { ServePlan } from './plan.js';
import { startServing } from './serve.js';

/** Its module, and libfuse with it, is loaded only when it is wanted. */
async function startNative(plan: ServePlan): Promise<{ readonly ready: unknown; readonly finished: Promise<void> }> {
  const module = await import('./serve-native.js');
  const { info, finished } = await module.startNative(plan);
  return { ready: info, finished };
}

await runDaemon<ServePlan>(
  ({ info }) => info.mountpoint,
  async (plan, wake) => {
    if (plan.transport === 'fuse-native') return startNative(plan);
    const serving = await startServing(plan, wake, true);
    return { ...serving, ready: serving.info };
  },
);
