/** The background server that `layerfs mount` leaves behind: serves one mount of an image. It knows no store and no database. */
import { runDaemon } from './daemon.js';
import type { ServePlan } from './plan.js';
import { startServing } from './serve.js';

await runDaemon<ServePlan>(
  ({ info }) => info.mountpoint,
  async (plan, wake) => {
    const serving = await startServing(plan, wake, true);
    return { ...serving, ready: serving.info };
  },
);
