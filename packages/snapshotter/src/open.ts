import { resolve } from 'node:path';
import { close, openat, AT_FDCWD, O } from '@layerfs/linux';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { LayerfsError, tryKernelMount, type Store } from 'layerfs';
import { FolderSnapshotter } from './folder-snapshotter.js';
import { Layout } from './folders/layout.js';
import { Bases, type BaseKind } from './lowers/bases.js';
import type { SealWhen } from './seal/sealer.js';
import type { Snapshotter } from './snapshotter.js';

/** How to open a snapshotter. */
export interface SnapshotterOptions {
  /** Its folder, made when it is missing. One process at a time uses it. */
  readonly root: string;
  /** Where layers are kept, and taken from. Without one all snapshots are plain folders. Must be open longer than the snapshotter. */
  readonly store?: Store;
  /** How layers of the store are shown; `auto` unless told. */
  readonly mountMode?: MountMode;
  /** When what was unpacked becomes a layer of the store; `behind` unless told. */
  readonly seal?: SealWhen;
  /** Told of what went wrong in the background, such as a folder that could not be removed. */
  readonly onProblem?: (error: unknown) => void;
}

/**
 * How layers of the store are shown to containers: `kernel` as EROFS image whose files have their content from the objects (Linux 6.5),
 * `fuse` as FUSE mount, `folder` as plain files, checked out once for all, `auto` by the kernel where it can.
 */
export type MountMode = 'auto' | 'kernel' | 'fuse' | 'folder';

/**
 * Opens a snapshotter that keeps its snapshots in a folder.
 * @throws LayerfsError failed-precondition when another process uses the folder; invalid-argument for a path that mount
 * options cannot hold; unavailable where the kernel cannot mount as it is to
 */
export function openSnapshotter(options: SnapshotterOptions): Snapshotter {
  const root = resolve(options.root);
  if (/[:,\\"\n]/.test(root)) {
    throw new LayerfsError('invalid-argument', `${root}: overlayfs takes no folder with one of : , \\ " in its path`);
  }
  const layout = new Layout(root);
  const lock = openat(AT_FDCWD, root, O.RDONLY | O.DIRECTORY);
  if (!tryFlock(lock, LOCK.EX)) {
    close(lock);
    throw new LayerfsError('failed-precondition', `${root} is in use by another snapshotter`);
  }
  const { store, mountMode = 'auto' } = options;
  try {
    return new FolderSnapshotter(layout, lock, {
      ...options,
      ...(store === undefined ? {} : { bases: new Bases(root, layout.staging, store, baseKind(mountMode, store)) }),
    });
  } catch (error) {
    close(lock);
    throw error;
  }
}

function baseKind(mode: MountMode, store: Store): BaseKind {
  if (mode === 'folder' || mode === 'fuse') return mode;
  const { ok, detail } = tryKernelMount(store.root);
  if (ok === true) return 'erofs';
  if (mode === 'auto') return 'folder';
  throw new LayerfsError('unavailable', `Kernel mounts do not work here: ${detail}`);
}
