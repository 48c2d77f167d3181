import { closeSync, fstatSync, linkSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { ErrnoError, O, AT_FDCWD, close, mapFile, openat } from '@layerfs/linux';
import { LayerfsError } from '../../core/error.js';
import { Tree } from '../../core/tree/tree.js';
import { bootId, mountedImage, overlaySource } from '../../store/kernel-mounts.js';
import { compareVersions } from '../doctor/check.js';
import { ObjectFolder } from '../filesystem/objects.js';
import { planMount, type MountOptions, type MountSource, type MountableImage } from '../prepare.js';
import { detach } from '../registry/detach.js';
import {
  RegistryEntry,
  forgetEntry,
  lowerFolder,
  processStart,
  registryFolder,
  releaseLower,
  type MountInfo,
} from '../registry/registry.js';
import type { ServePlan, WritablePlan } from '../server/plan.js';
import { openUpper } from '../server/union-root.js';
import { TreeLower } from '../union/tree-lower.js';
import { Union } from '../union/union.js';
import { mountErofs } from './erofs-mount.js';
import { mountOverlay } from './overlay-mount.js';

/** What a kernel mount needs of a store; `Store` has it. */
export interface KernelMountSource extends MountSource {
  /** The path of the EROFS image of a merged tree, made when it is not there yet. */
  erofsImage(image: Pick<MountableImage, 'chainID' | 'diffIDs'>): Promise<string>;
}

/** Of {@link mountByKernel}; what only a server could do is not among them. */
export type KernelMountOptions = Omit<MountOptions, 'passthrough' | 'allowOther' | 'trace' | 'profile' | 'spins'>;

/** The ways that there are to do it on this machine; the best one unless told. For tests. */
export interface KernelWays {
  /** EROFS from the file; through a loop device otherwise. */
  readonly file?: boolean;
  /** fsopen(2); mount(2) otherwise. */
  readonly fsopen?: boolean;
}

/**
 * Mounts an image, or a writable snapshot of it, by the kernel alone: overlayfs over an EROFS image of the merged tree, and content from the
 * objects as data-only layer (Linux 6.5, root). No process serves it: it lasts until it is unmounted.
 * @throws LayerfsError unimplemented for an image that no kernel mount can show, unavailable or permission-denied where it cannot be
 * done at all, and as `mount`
 */
export async function mountByKernel(
  source: KernelMountSource,
  ref: string,
  mountpoint: string,
  options: KernelMountOptions = {},
  ways: KernelWays = {},
): Promise<MountInfo> {
  checkKernel();
  return source.shared(async () => {
    const plan = await planMount(source, ref, mountpoint, options, async (image) => {
      // First, so that a mount that cannot be leaves no new snapshot behind.
      await source.erofsImage(image);
    });
    const image = await source.erofsImage({ chainID: plan.info.chainID, diffIDs: plan.info.layers });
    options.signal?.throwIfAborted();
    return mountPlan(plan, image, ways);
  });
}

function checkKernel(): void {
  if (compareVersions(release(), '6.5') < 0) {
    throw new LayerfsError('unavailable', `Kernel mounts need Linux 6.5 or later; this is ${release()}`);
  }
}

async function mountPlan(plan: ServePlan, image: string, ways: KernelWays): Promise<MountInfo> {
  const { root, info, writable } = plan;
  const { id, mountpoint } = info;
  const lower = lowerFolder(root, id);
  const entry = new RegistryEntry(root, id);
  // The union's own way to make an upper folder good that a crash or another program left, and a lock on it.
  const union = writable === undefined ? undefined : openUnionBriefly(plan, writable);
  let mounted = false;
  try {
    // From here on garbage collection leaves the layers alone.
    entry.publish(describe(plan, 'file'));
    linkSync(image, mountedImage(registryFolder(root), id));
    mkdirSync(lower, { mode: 0o700 });
    const backing = mountErofs(mountedImage(registryFolder(root), id), lower, ways.file);
    // Set by an earlier mount that was to be volatile, and a reason for the kernel to refuse the next.
    if (writable !== undefined) rmSync(join(writable.work, 'work/incompat/volatile'), { recursive: true, force: true });
    const { allowDevices, allowSetuid } = info.options;
    mountOverlay(
      {
        source: overlaySource(id),
        lower,
        objects: plan.objects,
        mountpoint,
        ...(writable === undefined ? {} : { writable }),
        allowDevices,
        allowSetuid,
      },
      ways.fsopen,
    );
    mounted = true;
    // The overlay has a mount of its own of it.
    releaseLower(root, id);
    const described = describe(plan, backing);
    entry.publish(described);
    entry.release();
    return described;
  } catch (error) {
    if (mounted) await detach(mountpoint, { lazy: true });
    forgetEntry(root, id);
    entry.remove();
    throw asLayerfsError(error, plan);
  } finally {
    union?.close();
  }
}

function openUnionBriefly(plan: ServePlan, writable: WritablePlan): Union {
  const fd = openSync(plan.tree, 'r');
  try {
    const tree = Tree.open(mapFile(fd, fstatSync(fd).size).buffer);
    const objects = openat(AT_FDCWD, plan.objects, O.PATH | O.DIRECTORY);
    try {
      return new Union(new TreeLower(tree, new ObjectFolder(objects, tree, () => undefined)), openUpper(writable));
    } catch (error) {
      close(objects);
      throw error;
    }
  } finally {
    closeSync(fd);
  }
}

function describe(plan: ServePlan, backing: 'file' | 'loop'): MountInfo {
  return {
    ...plan.info,
    kernel: { boot: bootId(), backing },
    pid: process.pid,
    pidStart: processStart(process.pid),
    since: new Date().toISOString(),
    passthrough: true,
    passthroughReason: 'There is no server: the kernel shows the image by itself.',
    transport: 'kernel',
    options: { ...plan.info.options, allowOther: true },
  };
}

function asLayerfsError(error: unknown, { info }: ServePlan): LayerfsError {
  if (error instanceof LayerfsError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof ErrnoError ? error.code : (error as NodeJS.ErrnoException).code;
  const what = `The kernel cannot mount ${info.ref} on ${info.mountpoint}`;
  if (code === 'EPERM' || code === 'EACCES') {
    return new LayerfsError('permission-denied', `${what}: this needs root (CAP_SYS_ADMIN): ${message}`, {
      cause: error,
    });
  }
  if (code === 'ENODEV') {
    return new LayerfsError('unavailable', `${what}: it has no EROFS or no overlayfs (modprobe erofs overlay)`, {
      cause: error,
    });
  }
  return new LayerfsError('unavailable', `${what}: ${message}`, { cause: error });
}
