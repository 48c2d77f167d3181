/** The background server of `fuse-layerfs`: serves one union of plain folders. */
import { runDaemon } from './daemon.js';
import type { FoldersPlan } from './plan-folders.js';
import { startFolders } from './serve-folders.js';

await runDaemon<FoldersPlan>(
  ({ mountpoint }) => mountpoint,
  async (plan, wake) => {
    const serving = await startFolders(plan, wake);
    const { passthrough, reason } = serving;
    return { ...serving, ready: { passthrough, reason, pid: process.pid } };
  },
);
