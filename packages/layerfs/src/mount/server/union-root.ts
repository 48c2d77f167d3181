import { statfsSync } from 'node:fs';
import type { FileSystem, KernelSide } from '@layerfs/fuse';
import { AT_FDCWD, ErrnoError, O, close, openat } from '@layerfs/linux';
import { LayerfsError } from '../../core/error.js';
import type { Tree } from '../../core/tree/tree.js';
import { STACKED_FILESYSTEMS } from '../doctor/store-root.js';
import { ObjectFolder, type ProblemListener } from '../filesystem/objects.js';
import type { Verifier } from '../filesystem/verifier.js';
import { TreeLower } from '../union/tree-lower.js';
import { UnionFileSystem } from '../union/union-filesystem.js';
import { Upper } from '../union/upper.js';
import type { OpenedObjects, PassthroughChoice } from './passthrough.js';
import type { WritablePlan } from './plan.js';

/** What a mount serves: a file system, and how its content is found out after INIT. */
export interface Root {
  readonly fs: FileSystem;
  serve(connection: KernelSide): PassthroughChoice;
}

/** A writable union over a tree. @throws LayerfsError when upper or work cannot be used */
export function openUnion(
  tree: Tree,
  objects: OpenedObjects,
  plan: WritablePlan,
  turns: boolean,
  report: ProblemListener,
  verifier?: Verifier,
): Root {
  const lower = new TreeLower(tree, new ObjectFolder(objects.fd, tree, report, verifier));
  const upper = openUpper(plan);
  const stacked = STACKED_FILESYSTEMS.has(statfsSync(plan.upper).type);
  const fs = new UnionFileSystem(lower, upper, {
    passthrough: objects.readOnly,
    maxStackDepth: stacked ? 2 : 1,
    volatile: plan.volatile,
    turns,
  });
  return {
    fs,
    serve(connection) {
      const reason = objects.readOnly ? whyNotUpper(connection, plan.upper) : objects.reason;
      const ids = {
        open: (fd: number): number => connection.openBacking(fd),
        close: (id: number): void => connection.closeBacking(id),
      };
      // Attributes only: content the kernel has it did write itself.
      fs.serveWith(reason === undefined ? ids : undefined, (nodeid) => connection.invalidateInode(nodeid, -1, 0));
      return reason === undefined
        ? { passthrough: true, reason: 'The kernel reads and writes files itself.' }
        : { passthrough: false, reason };
    },
  };
}

/** The upper and work folders of a snapshot, locked. @throws LayerfsError saying what is wrong with them */
export function openUpper({ upper, work }: WritablePlan): Upper {
  try {
    return new Upper(upper, work);
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    const text =
      error.code === 'EBUSY'
        ? `${work} is in use by another mount`
        : error.code === 'EXDEV'
          ? `${upper} and ${work} lie on different filesystems`
          : error.code === 'EOPNOTSUPP' || error.code === 'ENOTSUP'
            ? `the filesystem of ${upper} has no extended attributes, which a writable mount needs`
            : `cannot use ${upper} and ${work} as upper and work folders: ${error.message}`;
    throw new LayerfsError(error.code === 'EBUSY' ? 'failed-precondition' : 'unavailable', text, { cause: error });
  }
}

/** Why files of an upper folder cannot be passed through; undefined: they can. To be asked after INIT. */
export function whyNotUpper(connection: KernelSide, upper: string): string | undefined {
  if (!connection.passthrough) return 'This kernel has no FUSE passthrough (Linux 6.9 brought it).';
  let fd = -1;
  try {
    // Any regular file of the upper's filesystem tells whether the kernel will.
    fd = openat(AT_FDCWD, upper, O.RDWR | O.DIRECTORY | O_TMPFILE, 0o600);
    connection.closeBacking(connection.openBacking(fd));
    return undefined;
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    return `The kernel refused a file of the upper folder (${error.code}).`;
  } finally {
    if (fd >= 0) close(fd);
  }
}

const O_TMPFILE = 0o20000000;
