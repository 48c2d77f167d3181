import type { KernelSide } from '@layerfs/fuse';
import { mountNative } from '@layerfs/fuse/native';
import { ErrnoError, errno } from '@layerfs/linux';
import { detach } from '../registry/detach.js';
import { RegistryEntry, type MountInfo } from '../registry/registry.js';
import type { ServePlan } from './plan.js';
import { IDLE_MILLIS } from './serve.js';
import { asLayerfsError, describe, mountOptions, prepare } from './served.js';

/** A mount that libfuse's threads serve; the event loop of this thread answers them. */
export interface NativeServing {
  readonly info: MountInfo;
  /** Settles when it was unmounted and its registry entry is gone. */
  readonly finished: Promise<void>;
}

/** How often what another thread has verified is looked for, in milliseconds. */
const VERIFIED_CHECK = 5;

/** libfuse 2 has no way to say these things. */
const DEAF: KernelSide = {
  passthrough: false,
  openBacking: () => {
    throw new ErrnoError(errno.ENOSYS, 'openBacking');
  },
  closeBacking: () => undefined,
  // It keeps attributes of a writable mount for no time at all.
  invalidateInode: () => undefined,
};

/**
 * As `startServing`, by libfuse 2. Only in the main thread of a process of its own: the binding answers in no other.
 * @throws LayerfsError with a sentence for the user; nothing is left mounted then
 */
export async function startNative(plan: ServePlan): Promise<NativeServing> {
  const entry = new RegistryEntry(plan.root, plan.info.id);
  let mounted = false;
  try {
    const { root, hooks, log, verifier, trace, profile } = await prepare(plan, entry, true);
    // Before it is mounted: the first request may come at once.
    const content = root.serve(DEAF);
    const { finished } = await mountNative(mountOptions(plan), root.fs, hooks);
    mounted = true;
    const info = describe(plan, 'fuse-native', content);
    entry.publish(info);
    const timers = [
      ...(verifier === undefined ? [] : [setInterval(() => verifier.resume(), VERIFIED_CHECK)]),
      ...(trace === undefined ? [] : [setInterval(() => trace.flush(), IDLE_MILLIS)]),
    ];
    const end = async (): Promise<void> => {
      await finished;
      for (const timer of timers) clearInterval(timer);
      trace?.close();
      profile?.close();
      entry.remove();
      log.close();
      verifier?.close();
    };
    return { info, finished: end() };
  } catch (error) {
    if (mounted) await detach(plan.info.mountpoint, { lazy: true });
    entry.remove();
    throw asLayerfsError(error, plan);
  }
}
