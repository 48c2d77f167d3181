import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import {
  AT_FDCWD,
  ErrnoError,
  O,
  close,
  getProject,
  getProjectQuota,
  openat,
  setProject,
  setProjectLimit,
} from '@layerfs/linux';
import { LayerfsError } from 'layerfs';
import type { Labels } from '../snapshotter.js';

/** How many bytes an active snapshot may hold, in decimal (containerd 2.4). */
const MAX_SIZE = 'containerd.io/snapshot/max-size';

/** Projects are ours from here on: people and programs that number theirs by hand begin low. */
const FIRST = 2 ** 24;
const END = 2 ** 31;
const TRIES = 100;

/** What a snapshot's labels say of its size, in bytes. @throws LayerfsError invalid-argument naming the label */
export function maxSizeOf(labels: Labels): number | undefined {
  const value = Object.hasOwn(labels, MAX_SIZE) ? labels[MAX_SIZE] : undefined;
  if (value === undefined) return undefined;
  const bytes = /^\d{1,16}$/.test(value) ? Number(value) : 0;
  if (bytes > 0 && Number.isSafeInteger(bytes)) return bytes;
  const shown = JSON.stringify(value.slice(0, 200));
  throw new LayerfsError('invalid-argument', `The label ${MAX_SIZE} is no number of bytes above 0: ${shown}`);
}

/**
 * Limits on what snapshots hold: each limited one is a project of its filesystem (quotas of projects of ext4 and XFS), whose
 * number no other snapshot has, and nothing else on the filesystem had when it was chosen.
 */
export class Quotas {
  readonly #folder: string;

  /** @param folder on the filesystem */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Limits the folders of a new snapshot.
   * @param isTaken whether a snapshot has a project
   * @returns the project
   * @throws LayerfsError failed-precondition where the filesystem has no such limits
   */
  limit(staged: string, bytes: number, isTaken: (project: number) => boolean): number {
    try {
      return withFolder(this.#folder, (fd) => {
        const project = freeProject(fd, isTaken);
        // Both, for overlayfs moves files from one to the other.
        for (const name of ['work', 'fs']) withFolder(join(staged, name), (inner) => setProject(inner, project));
        setProjectLimit(fd, project, bytes);
        return project;
      });
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      throw new LayerfsError(
        'failed-precondition',
        `The label ${MAX_SIZE} cannot be kept: ${this.#folder} is on a filesystem without quotas of projects (${error.message}); ext4 and XFS have them where they are mounted with prjquota`,
        { cause: error },
      );
    }
  }

  /** The project of a snapshot's folders; undefined: none. */
  projectOf(staged: string): number | undefined {
    try {
      const project = withFolder(join(staged, 'fs'), getProject);
      return project < FIRST ? undefined : project;
    } catch (error) {
      // It was not made yet, or there are no projects here.
      if (error instanceof ErrnoError) return undefined;
      throw error;
    }
  }

  /** Takes the limit off a project that nothing has any more. */
  lift(project: number): void {
    withFolder(this.#folder, (fd) => setProjectLimit(fd, project, 0));
  }
}

function freeProject(fd: number, isTaken: (project: number) => boolean): number {
  for (let i = 0; i < TRIES; i++) {
    const project = randomInt(FIRST, END);
    if (isTaken(project)) continue;
    const { limit, bytes, inodes } = getProjectQuota(fd, project);
    if (limit === 0 && bytes === 0 && inodes === 0) return project;
  }
  throw new LayerfsError('resource-exhausted', `${TRIES} projects of the filesystem are all in use`);
}

function withFolder<T>(path: string, action: (fd: number) => T): T {
  const fd = openat(AT_FDCWD, path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  try {
    return action(fd);
  } finally {
    close(fd);
  }
}
