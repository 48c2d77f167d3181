import { once } from 'node:events';
import { closeSync, writeSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { eventfd } from '@layerfs/linux';
import { NativeThread } from '@layerfs/linux/thread';
import { unmountKernel } from '@layerfs/fuse';
import { LayerfsError, type LayerfsErrorCode } from '../core/error.js';
import { planMount, type MountOptions, type MountSource } from './prepare.js';
import type { MountInfo } from './registry/registry.js';
import { claimMount, freePlace } from './server/place.js';
import type { ServePlan, ServeReport } from './server/plan.js';
import { startServer, type StartedServer } from './server/spawn.js';
import type { WorkerPlan } from './server/worker.js';
import { unmount, type UnmountOptions } from './unmount.js';

/** A mount that this process serves. */
export interface Mount {
  readonly info: MountInfo;
  /** Settles when the mount has ended, whoever unmounted it. */
  readonly finished: Promise<void>;
  /** @throws BusyError naming who uses it */
  unmount(options?: UnmountOptions): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Mounts an image, or a writable snapshot of it, and serves it from a worker thread of this process (with transport
 * `fuse-native`, from a child process: that needs a main thread of its own). The mount keeps the process alive; if the
 * process ends all the same, it is unmounted (after a SIGKILL, `layerfs unmount` or the next mount there cleans up).
 * @param ref an image name in this store
 * @param mountpoint an existing folder
 * @throws LayerfsError not-found, already-exists, invalid-argument, permission-denied, unavailable
 */
export async function mount(
  source: MountSource,
  ref: string,
  mountpoint: string,
  options: MountOptions = {},
): Promise<Mount> {
  return source.shared(async () => {
    const plan = await planMount(source, ref, mountpoint, options);
    return plan.transport === 'kernel' ? startWorker(plan, options.signal) : startChild(plan, options.signal);
  });
}

/**
 * Mounts an image, or a writable snapshot of it, and leaves a background process serving it.
 * @param server one that was started before, and ends when this fails
 * @returns when the mount answers
 * @throws LayerfsError as {@link mount}
 */
export async function spawnServer(
  source: MountSource,
  ref: string,
  mountpoint: string,
  options: MountOptions = {},
  server: StartedServer = startServer(ref, mountpoint),
): Promise<MountInfo> {
  try {
    return await source.shared(async () => {
      const plan = await planMount(source, ref, mountpoint, options);
      return server.serve(plan, options.signal);
    });
  } catch (error) {
    server.abandon();
    throw error;
  }
}

async function startWorker(plan: ServePlan, signal?: AbortSignal): Promise<Mount> {
  signal?.throwIfAborted();
  const stop = eventfd();
  const place = freePlace();
  const atExit = (): void => {
    if (claimMount(place)) stopAtExit(plan.info.mountpoint);
    writeSync(stop, new Uint8Array(new BigUint64Array([1n]).buffer));
  };
  // Its descriptors are closed where they were opened, not by Node's count of them.
  const options = { trackUnmanagedFds: false };
  const data: WorkerPlan = { plan, stop, place };
  const { worker, ended } = new NativeThread(new URL('server/worker.js', import.meta.url), data, options, atExit);
  const exited = once(worker, 'exit');
  const finished = (async () => {
    await ended;
    closeSync(stop);
    await exited;
  })();
  // Whoever waits for it hears of an error; nobody has to.
  finished.catch(() => undefined);
  const info = await readyInfo(worker, exited);
  return served(plan, info, finished, signal);
}

async function startChild(plan: ServePlan, signal?: AbortSignal): Promise<Mount> {
  signal?.throwIfAborted();
  const { ref, mountpoint } = plan.info;
  const server = startServer(ref, mountpoint);
  const info = await server.serve(plan);
  const { child } = server;
  const atExit = (): void => stopAtExit(mountpoint);
  process.on('exit', atExit);
  const finished = (async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.ref();
      await once(child, 'exit');
    }
    process.off('exit', atExit);
  })();
  return served(plan, info, finished, signal);
}

/** What the caller gets of a mount whose server ends when `finished` does. */
function served(plan: ServePlan, info: MountInfo, finished: Promise<void>, signal?: AbortSignal): Mount {
  const end = async (options?: UnmountOptions): Promise<void> => {
    try {
      await unmount(plan.root, info.mountpoint, options);
    } catch (error) {
      // Somebody else was quicker, which is as good.
      if (!(error instanceof LayerfsError) || error.code !== 'not-found') throw error;
    }
    if (options?.lazy !== true) await finished;
  };
  const abort = (): void => void end({ lazy: true });
  if (signal?.aborted === true) abort();
  signal?.addEventListener('abort', abort, { once: true });
  return { info, finished, unmount: end, [Symbol.asyncDispose]: () => end() };
}

async function readyInfo(worker: Worker, exited: Promise<unknown>): Promise<MountInfo> {
  const answer = await Promise.race([once(worker, 'message') as Promise<[ServeReport]>, exited]);
  const message = (answer as [ServeReport | number])[0];
  if (typeof message === 'number') {
    throw new LayerfsError('internal', `The serving thread ended early with ${String(message)}`);
  }
  if ('ready' in message) return message.ready;
  await exited;
  throw new LayerfsError(message.failed.code as LayerfsErrorCode, message.failed.message);
}

// Node waits for its threads when it ends, and ours waits for the kernel: take the mount away and wake it.
function stopAtExit(mountpoint: string): void {
  try {
    unmountKernel(mountpoint, true);
  } catch (error) {
    // Not root (the kernel shows a dead mount then, which the next mount cleans), or just unmounted.
    if (!(error instanceof Error)) throw error;
  }
}
