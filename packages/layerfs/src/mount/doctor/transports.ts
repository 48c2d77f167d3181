import { MountError } from '@layerfs/fuse';
import type { Check } from './check.js';

/** Whether `--transport fuse-native` can be had: its package is loaded, which mounts nothing. */
export async function fuseNativeCheck(): Promise<Check> {
  const name = 'fuse-native';
  try {
    // Nothing else here needs it.
    const native = await import('@layerfs/fuse/native');
    native.loadFuseNative();
    return {
      name,
      ok: true,
      detail: 'The npm package can be loaded, with its libfuse 2.',
      use: 'Only where it is asked for: --transport fuse-native.',
    };
  } catch (error) {
    if (!(error instanceof MountError)) throw error;
    return {
      name,
      ok: 'warn',
      detail: `Not usable: ${error.message.replace(/\.$/, '')}.`,
      use: '--transport fuse-native is refused. Mounts without it are faster.',
      hint: 'npm install fuse-native (x64 only).',
    };
  }
}
