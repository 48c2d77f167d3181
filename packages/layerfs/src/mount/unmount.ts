import { setTimeout } from 'node:timers/promises';
import { LayerfsError } from '../core/error.js';
import { detach } from './registry/detach.js';
import { resolveOutside } from './registry/locate.js';
import { isMountedAnywhere, kernelMountLives, type KernelMark } from '../store/kernel-mounts.js';
import { FILESYSTEM_TYPE, kernelMountAt, listMounts, ourMount } from './registry/mounts.js';
import { mountAt } from './registry/mountinfo.js';
import { RegistryEntry, forgetEntry, readRegistry, registryFolder, type MountInfo } from './registry/registry.js';

/** How to unmount. */
export interface UnmountOptions {
  /** Take it away from its place now, and end when the last user lets go (umount -l). */
  readonly lazy?: boolean;
}

// The server needs a moment to notice, flush its trace and end; a busy machine more.
const SERVER_END_MS = 10_000;
// A container that starts has copies of all mounts in its mount namespace for a moment.
const COPIES_MS = 1000;

/**
 * Unmounts a mount of this store and waits for its server to end (not when lazy). Works on what a killed server left, too.
 * @param root the store's folder
 * @returns what was mounted there
 * @throws BusyError (failed-precondition) naming the holders; LayerfsError not-found when it is no mount of this store
 */
export async function unmount(root: string, mountpoint: string, options: UnmountOptions = {}): Promise<MountInfo> {
  const mounts = listMounts(root);
  const path = resolveOutside(
    mountpoint,
    mounts.map((mount) => mount.mountpoint),
  );
  const found = mounts.findLast((mount) => mount.mountpoint === path);
  if (found === undefined) throw notOurs(path);
  const { state, ...info } = found;
  if (info.kernel !== undefined) {
    await unmountByKernel(root, info, options.lazy === true);
    return info;
  }
  if (ourMount(path) !== undefined) await detach(path, { lazy: options.lazy === true || state === 'dead' });
  if (state === 'dead') forgetEntry(root, info.id);
  else if (options.lazy !== true) await serverEnd(root, info);
  return info;
}

/** The entry stays as long as somebody uses the mount, unmounted lazily or in another mount namespace: it keeps what it stands on. */
async function unmountByKernel(root: string, info: MountInfo, lazy: boolean): Promise<void> {
  if (kernelMountAt(info) !== undefined) await detach(info.mountpoint, { lazy });
  const { kernel } = info;
  if (lazy && kernel !== undefined && kernelMountLives(registryFolder(root), info.id, kernel)) {
    const entry = new RegistryEntry(root, info.id);
    entry.publish({ ...info, kernel: { ...kernel, detached: true } });
    entry.release();
  } else if (!isMountedAnywhere(info.id)) forgetEntry(root, info.id);
  else if (kernel !== undefined) await waitForCopies(root, info.id, kernel);
}

async function waitForCopies(root: string, id: string, mark: KernelMark): Promise<void> {
  const deadline = Date.now() + COPIES_MS;
  for (let pause = 10; Date.now() < deadline; pause *= 2) {
    await setTimeout(pause);
    if (isMountedAnywhere(id)) continue;
    // It may have been unmounted lazily there.
    if (!kernelMountLives(registryFolder(root), id, mark)) forgetEntry(root, id);
    return;
  }
}

async function serverEnd(root: string, info: MountInfo): Promise<void> {
  const deadline = Date.now() + SERVER_END_MS;
  while (readRegistry(root).some((entry) => entry.alive && entry.info.id === info.id)) {
    if (Date.now() > deadline) {
      throw new LayerfsError(
        'failed-precondition',
        `${info.mountpoint} is unmounted, but its server (pid ${String(info.pid)}) still runs: ` +
          'the mount is in use in another mount namespace (a container?)',
      );
    }
    await setTimeout(5);
  }
}

function notOurs(path: string): LayerfsError {
  const mount = mountAt(path);
  if (mount === undefined) return new LayerfsError('not-found', `Nothing is mounted on ${path}`);
  return mount.type === FILESYSTEM_TYPE
    ? new LayerfsError('not-found', `${path} was mounted by layerfs from another store; name it with --root`)
    : new LayerfsError('not-found', `${path} is not a layerfs mount (${mount.type})`);
}
