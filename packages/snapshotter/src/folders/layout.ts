import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The folders of a snapshotter:
 *
 *     ROOT/meta/             SQLite (records.ts)
 *     ROOT/snapshots/ID/fs   what the snapshot holds: upper of an active one, a lower of what stands on a committed one
 *     ROOT/snapshots/ID/work overlayfs's work folder
 *     ROOT/erofs/, fuse/, checkout/ what shows layers of the store (lowers/bases.ts)
 *     ROOT/staging/…         being made or being removed; whatever lies there when a snapshotter is opened goes
 */
export class Layout {
  readonly root: string;
  readonly meta: string;
  readonly snapshots: string;
  readonly staging: string;
  /** What this process stages has names of its own: this, and a number. */
  readonly #prefix = randomBytes(8).toString('hex');
  #staged = 0;

  constructor(root: string) {
    this.root = root;
    this.meta = join(root, 'meta');
    this.snapshots = join(root, 'snapshots');
    this.staging = join(root, 'staging');
    for (const folder of [root, this.meta, this.snapshots, this.staging])
      mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  fs(id: string): string {
    return join(this.snapshots, id, 'fs');
  }

  work(id: string): string {
    return join(this.snapshots, id, 'work');
  }

  /**
   * Makes the folders of a snapshot under a name that nothing else has.
   * @param above a folder whose owner and mode the new root gets: in an overlay the top one's count; or just an owner
   * @returns for {@link place} or {@link discard}
   */
  stage(above: string | Owner | undefined, writable: boolean): string {
    const staged = join(this.staging, `new-${this.#name()}`);
    mkdirSync(staged, { mode: 0o700 });
    const fs = join(staged, 'fs');
    mkdirSync(fs, { mode: 0o755 });
    if (typeof above === 'string') {
      const { uid, gid, mode } = statSync(above);
      if (uid !== process.geteuid?.() || gid !== process.getegid?.()) chownSync(fs, uid, gid);
      chmodSync(fs, mode & 0o7777);
    } else {
      if (above !== undefined) chownSync(fs, above.uid, above.gid);
      chmodSync(fs, 0o755);
    }
    if (writable) mkdirSync(join(staged, 'work'), { mode: 0o711 });
    return staged;
  }

  /** Gives staged folders their place. */
  place(staged: string, id: string): void {
    renameSync(staged, join(this.snapshots, id));
  }

  /** Removes what was staged. */
  async discard(staged: string): Promise<void> {
    if (await removedEmpty(staged)) return;
    try {
      await rm(staged, { recursive: true, force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENAMETOOLONG') throw error;
      // Deeper than a path can be long, as programs in a container can make it: rm(1) walks by descriptors.
      await run('rm', ['-rf', '--', staged]);
    }
  }

  /** Takes a snapshot's folders out of their place, at once. @returns for {@link discard}; undefined: they are not there */
  unplace(id: string): string | undefined {
    return this.takeAway(join(this.snapshots, id));
  }

  /** As {@link unplace}, of any folder of the snapshotter. */
  takeAway(folder: string): string | undefined {
    const removed = join(this.staging, `removed-${basename(folder)}-${this.#name()}`);
    try {
      renameSync(folder, removed);
      return removed;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** That nothing else has. */
  #name(): string {
    return `${this.#prefix}-${this.#staged++}`;
  }

  /** IDs of all folders in their place. */
  placed(): string[] {
    return readdirSync(this.snapshots);
  }

  /** All that is staged. */
  staged(): string[] {
    return readdirSync(this.staging).map((name) => join(this.staging, name));
  }
}

/** Removes the folders of a snapshot that nothing was ever written to, by a few system calls. @returns whether all of it is gone */
async function removedEmpty(staged: string): Promise<boolean> {
  const work = join(staged, 'work');
  // One after the other: what is refused takes longer than what is done.
  const found = await removed(work);
  // Where it was mounted, overlayfs made a folder in it. In a stack that was checked out it is whatever the image has there, also a link.
  if (found === 'not empty' && !(await isGone(join(work, 'work')))) return false;
  if (found === 'not empty' && !(await isGone(work))) return false;
  if (found === 'no folder') return false;
  return (await isGone(join(staged, 'fs'))) && (await isGone(staged));
}

async function isGone(folder: string): Promise<boolean> {
  return (await removed(folder)) === 'gone';
}

/** Removes an empty folder, by a thread: others are answered meanwhile. Follows no link in the last place. */
async function removed(folder: string): Promise<'gone' | 'not empty' | 'no folder'> {
  try {
    await rmdir(folder);
    return 'gone';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return 'gone';
    return code === 'ENOTEMPTY' || code === 'EEXIST' ? 'not empty' : 'no folder';
  }
}
