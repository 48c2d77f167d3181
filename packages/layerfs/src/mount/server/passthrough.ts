import { closeSync, statfsSync } from 'node:fs';
import type { KernelSide } from '@layerfs/fuse';
import { ErrnoError, openReadOnlyClone } from '@layerfs/linux';
import type { Tree } from '../../core/tree/tree.js';
import { STACKED_FILESYSTEMS } from '../doctor/store-root.js';
import { BackingPool } from '../filesystem/backing.js';
import { ObjectFolder, ObjectReader, openFolder, type ProblemListener } from '../filesystem/objects.js';
import type { Verifier } from '../filesystem/verifier.js';
import type { Content } from '../filesystem/tree-filesystem.js';

/** What a mount does about passthrough, and why. */
export interface PassthroughChoice {
  readonly passthrough: boolean;
  /** A sentence. */
  readonly reason: string;
}

/** The objects folder, opened in the best way this process may. */
export interface OpenedObjects {
  readonly fd: number;
  /** Nothing can be opened for writing through it, not even by the kernel. */
  readonly readOnly: boolean;
  /** Why not, when it is not. */
  readonly reason: string;
}

// Ids that nobody uses now, each an open file inside the kernel; enough for what a busy image opens again and again.
const KEEP_IDS = 1024;
const KEEP_DESCRIPTORS = 128;
/** With passthrough only odd reads come to us. */
const KEEP_FEW = 16;

/**
 * Opens the objects folder through a read-only view if this process may make one, plainly otherwise.
 * @param unwanted why there need not be one
 */
export function openObjects(path: string, unwanted: string | undefined): OpenedObjects {
  if (unwanted !== undefined) return { fd: openFolder(path), readOnly: false, reason: unwanted };
  try {
    return { fd: openReadOnlyClone(path), readOnly: true, reason: '' };
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    const reason =
      error.code === 'EPERM'
        ? 'Needs root (CAP_SYS_ADMIN).'
        : `The objects cannot be made safe from writing here (${error.message}).`;
    return { fd: openFolder(path), readOnly: false, reason };
  }
}

/** How deep filesystems are stacked when ours passes through to this folder. */
export function stackDepth(objects: string): number {
  return STACKED_FILESYSTEMS.has(statfsSync(objects).type) ? 2 : 1;
}

/**
 * Decides, after INIT, how content is served: tries a real object, because the kernel says only then whether it will.
 */
export function chooseContent(
  connection: KernelSide,
  objects: OpenedObjects,
  tree: Tree,
  report: ProblemListener,
  verifier?: Verifier,
): Content & PassthroughChoice {
  const folder = new ObjectFolder(objects.fd, tree, report, verifier);
  const reason = whyNot(connection, objects, tree, folder);
  if (reason !== undefined) {
    return { reader: new ObjectReader(folder, KEEP_DESCRIPTORS), passthrough: false, reason };
  }
  const ids = {
    open: (fd: number): number => connection.openBacking(fd),
    close: (id: number): void => connection.closeBacking(id),
  };
  return {
    reader: new ObjectReader(folder, KEEP_FEW),
    backing: new BackingPool(folder, ids, KEEP_IDS),
    passthrough: true,
    reason: 'The kernel reads objects itself.',
  };
}

function whyNot(connection: KernelSide, objects: OpenedObjects, tree: Tree, folder: ObjectFolder): string | undefined {
  if (!objects.readOnly) return objects.reason;
  if (!connection.passthrough) return 'This kernel has no FUSE passthrough (Linux 6.9 brought it).';
  if (tree.objectCount === 0) return 'The image has no file with content.';
  let fd: number;
  try {
    fd = folder.openAny(0);
  } catch (error) {
    // A missing object is that file's problem, not a reason to serve the others slowly.
    if (error instanceof ErrnoError) return undefined;
    throw error;
  }
  try {
    connection.closeBacking(connection.openBacking(fd));
    return undefined;
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    return error.code === 'EPERM'
      ? 'Needs root in the initial user namespace.'
      : `The kernel refused an object of this store (${error.code}).`;
  } finally {
    closeSync(fd);
  }
}
