import { accessSync, constants, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { Check } from './doctor/check.js';
import { hostChecks } from './doctor/host.js';
import { tryKernelMount } from './doctor/kernel.js';
import { tryMount } from './doctor/passthrough.js';
import { storeChecks } from './doctor/store-root.js';
import { listMounts } from './registry/mounts.js';

/**
 * Looks at what this machine offers to layerfs, trying what can be tried without harm: a mount for a moment, a reflink.
 * @param root the store's folder; it need not exist
 */
export function doctor(root: string): Check[] {
  const checks = hostChecks();
  if (checks.some((check) => check.name === '/dev/fuse' && check.ok === true)) {
    checks.push(...tryMount(isWritable(root) ? root : tmpdir()));
  }
  checks.push(tryKernelMount(isWritable(root) ? root : tmpdir()), ...storeChecks(root), mountsCheck(root));
  return checks;
}

function isWritable(folder: string): boolean {
  if (!existsSync(folder)) return false;
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EROFS') return false;
    throw error;
  }
}

function mountsCheck(root: string): Check {
  const name = 'Mounts';
  const mounts = listMounts(root);
  const dead = mounts.filter((mount) => mount.state === 'dead').map((mount) => mount.mountpoint);
  if (dead.length === 0) {
    const byKernel = mounts.filter((mount) => mount.kernel !== undefined).length;
    const served = byKernel === 0 ? 'all served' : `${byKernel} by the kernel, ${mounts.length - byKernel} served`;
    return { name, ok: true, detail: `${mounts.length} of this store, ${served}.` };
  }
  return {
    name,
    ok: false,
    detail: `Without a server (it was killed): ${dead.join(', ')}.`,
    hint: 'Clean up with `layerfs unmount MOUNTPOINT`, or mount there again.',
  };
}
