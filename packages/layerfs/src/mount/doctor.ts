import { accessSync, constants, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { Check } from './doctor/check.js';
import { filesystemChecks } from './doctor/filesystems.js';
import { hostChecks } from './doctor/host.js';
import { tryKernelMount } from './doctor/kernel.js';
import { tryMount } from './doctor/passthrough.js';
import { programChecks } from './doctor/programs.js';
import { storeChecks } from './doctor/store-root.js';
import { fuseNativeCheck } from './doctor/transports.js';
import { userChecks } from './doctor/users.js';
import { listMounts } from './registry/mounts.js';

/**
 * Looks at what this machine offers to layerfs, trying what can be tried without harm: a mount for a moment, a reflink.
 * @param root the store's folder; it need not exist
 */
export async function doctor(root: string): Promise<Check[]> {
  const folder = isWritable(root) ? root : tmpdir();
  const checks = hostChecks();
  // Where fusermount3 is not to be had, its own line says so.
  if (hasFuse(checks)) checks.push(...(await tryMount(folder)));
  const fuse = hasFuse(checks);
  checks.push(await fuseNativeCheck(), ...filesystemChecks(fuse), tryKernelMount(folder, fuse));
  checks.push(...storeChecks(root), mountsCheck(root));
  checks.push(...userChecks(), ...programChecks());
  return checks;
}

/** Whether nothing that was looked at keeps FUSE from being mounted. */
function hasFuse(checks: readonly Check[]): boolean {
  return checks.every(({ name, ok }) => ok !== false || !['/dev/fuse', 'fusermount3', 'Mounting'].includes(name));
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
