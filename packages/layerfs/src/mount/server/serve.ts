import { Connection, Loop, mountKernel, mountWithHelper, type MountOptions } from '@layerfs/fuse';
import { POLL, PollSet } from '@layerfs/linux';
import { RegistryEntry, type MountInfo } from '../registry/registry.js';
import { detach } from '../registry/detach.js';
import { answerInit } from './init.js';
import type { ServePlan } from './plan.js';
import { asLayerfsError, describe, mountOptions, prepare } from './served.js';

/** A mount that answers, to be driven by its {@link Loop}. */
export interface Serving {
  readonly info: MountInfo;
  readonly loop: Loop;
  /** Writes out what waits; for when nothing is to be done. */
  flush(): void;
  /** Goes on with what waited for another thread. @returns whether that is why the loop was woken */
  resume(): boolean;
  /** Sleeps until there is a request or a wake descriptor is readable. */
  sleep(): void;
}

/** After so long without a request, in milliseconds, a server tidies up and goes to sleep. */
export const IDLE_MILLIS = 500;

/**
 * Mounts a tree and makes everything ready to serve it in this thread: when this returns, the kernel has got its
 * first answer. The registry entry and the lock on it last until the loop sees the unmount.
 * @param wake descriptors that make the loop return
 * @param turns whether Node's event loop of this thread gets its turns in between
 * @throws LayerfsError with a sentence for the user; nothing is left mounted then
 */
export async function startServing(plan: ServePlan, wake: readonly number[], turns: boolean): Promise<Serving> {
  const entry = new RegistryEntry(plan.root, plan.info.id);
  let mounted = false;
  try {
    const served = await prepare(plan, entry, turns);
    const { log, verifier, trace, profile, root, hooks } = served;
    const wakes = verifier === undefined ? wake : [...wake, verifier.wake];
    const { fd, transport } = await mountSomehow(mountOptions(plan));
    mounted = true;
    const connection = new Connection(fd, root.fs, hooks);
    answerInit(connection);
    const content = root.serve(connection);
    const info = describe(plan, transport, content);
    entry.publish(info);
    const loop = new Loop({
      wake: wakes,
      ...(plan.spins === undefined ? {} : { spins: plan.spins }),
      onEnd: () => {
        trace?.close();
        profile?.close();
        entry.remove();
        log.close();
        verifier?.close();
      },
    });
    loop.add(connection);
    const poll = new PollSet();
    for (const descriptor of [fd, ...wakes]) poll.add(descriptor, POLL.IN);
    return {
      info,
      loop,
      flush: () => trace?.flush(),
      resume: () => verifier?.resume() ?? false,
      sleep: () => void poll.wait(-1),
    };
  } catch (error) {
    if (mounted) await detach(plan.info.mountpoint, { lazy: true });
    entry.remove();
    throw asLayerfsError(error, plan);
  }
}

async function mountSomehow(options: MountOptions): Promise<{ fd: number; transport: MountInfo['transport'] }> {
  // Root without CAP_SYS_ADMIN (in a container) is helped no better by the set-uid program.
  if (process.geteuid?.() === 0) return { fd: mountKernel(options), transport: 'kernel' };
  return { fd: await mountWithHelper(options), transport: 'fusermount3' };
}
