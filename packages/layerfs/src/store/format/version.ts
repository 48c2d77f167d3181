/** The format version: who may use a store, and how an old one becomes a new one. */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { LayerfsError } from '../../core/error.js';
import { syncFolder } from '../../records/sync-folder.js';
import { isErrno } from '../errors.js';
import { accessError, type StorePaths } from '../paths.js';

/** format: do not change. Version of the folder layout, of the records in meta/ and of the locks (docs/store.md). */
export const FORMAT_VERSION = 3;

/**
 * Brings a store of one version to the next, unless somebody has it open. It may be run again after it was interrupted.
 * @returns whether it is done
 */
export type Migration = (paths: StorePaths) => Promise<boolean>;

/** By the version that they start from. */
const MIGRATIONS: ReadonlyMap<number, Migration> = new Map([
  [1, async (paths: StorePaths) => (await import('./migrate-1-to-2.js')).migrate1to2(paths)],
  [2, async (paths: StorePaths) => (await import('./migrate-2-to-3.js')).migrate2to3(paths)],
]);

/** How long to wait for others who have an old store open, in milliseconds. */
const PATIENCE = 10_000;

/** Keeps a store from being changed to another version. */
export interface VersionHold {
  release(): void;
}

/**
 * Makes sure that a store has the version of this program, by migration where it is older, and that it keeps it while it is
 * open. A folder without a version becomes a new store.
 * @throws LayerfsError failed-precondition for a newer store, and for an older one that is in use; aborted
 */
export async function holdVersion(paths: StorePaths, signal?: AbortSignal): Promise<VersionHold> {
  for (let waited = 0; ;) {
    const { fd, version } = openVersion(paths);
    let keep = false;
    try {
      if (version !== undefined && version > FORMAT_VERSION) throw newer(paths, String(version));
      const current = version === FORMAT_VERSION;
      if (tryFlock(fd, current ? LOCK.SH : LOCK.EX) && isStill(fd, paths.version, version)) {
        if (current) {
          keep = true;
          return { release: () => closeSync(fd) };
        }
        if (await bring(paths, version)) continue;
      }
    } finally {
      if (!keep) closeSync(fd);
    }
    // Somebody else brings it to our version, or has it open with an older one.
    if (signal?.aborted === true) throw new LayerfsError('aborted', 'interrupted while waiting for the store');
    if (waited >= PATIENCE) throw inUse(paths, version);
    await sleep(20);
    waited += 20;
  }
}

/** @returns undefined as version of a file that is empty: whoever made it got no further */
function openVersion({ version: path, root }: StorePaths): { fd: number; version: number | undefined } {
  let fd: number;
  try {
    fd = openVersionFile(path);
  } catch (error) {
    throw accessError(error, root);
  }
  try {
    const text = readFileSync(fd, 'utf8').trim();
    if (text === '') return { fd, version: undefined };
    if (!/^[1-9]\d{0,8}$/.test(text)) throw newer({ root }, JSON.stringify(text.slice(0, 40)));
    return { fd, version: Number(text) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

// To be locked it need not be writable, but on some network file systems.
function openVersionFile(path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    return openSync(path, 'a+', 0o644);
  }
}

/** Whether a locked file is what its path leads to, and nobody has changed it before it was locked. */
function isStill(fd: number, path: string, version: number | undefined): boolean {
  const named = statSync(path, { throwIfNoEntry: false });
  const held = fstatSync(fd);
  return named?.ino === held.ino && named.dev === held.dev && (version === undefined) === (held.size === 0);
}

async function bring(paths: StorePaths, version: number | undefined): Promise<boolean> {
  let at = version ?? versionByLooks(paths);
  for (; at < FORMAT_VERSION; at++) {
    const migrate = MIGRATIONS.get(at);
    if (migrate === undefined) {
      throw new LayerfsError('failed-precondition', `store ${paths.root} has format version ${at}, which is too old`);
    }
    if (!(await migrate(paths))) return false;
  }
  writeVersion(paths);
  return true;
}

/** A version that was never written: of a new store, or of an old one that lost it with the power. */
function versionByLooks({ locks, meta }: StorePaths): number {
  if (statSync(locks, { throwIfNoEntry: false })?.isFile() === true) return 1;
  return existsSync(join(meta, 'data.mdb')) ? 2 : FORMAT_VERSION;
}

/** Replaces the file: whoever has the old one locked, or waits for it, finds that it is no longer the one. */
function writeVersion({ version, root }: StorePaths): void {
  const temporary = `${version}.new`;
  writeFileSync(temporary, `${FORMAT_VERSION}\n`, { mode: 0o644, flush: true });
  renameSync(temporary, version);
  syncFolder(root);
}

function newer({ root }: Pick<StorePaths, 'root'>, version: string): LayerfsError {
  return new LayerfsError(
    'failed-precondition',
    `store ${root} has format version ${version}, this layerfs knows ${FORMAT_VERSION}: use a newer layerfs`,
  );
}

function inUse({ root }: StorePaths, version: number | undefined): LayerfsError {
  return new LayerfsError(
    'failed-precondition',
    `store ${root} has format version ${version ?? 'unknown'} and is in use by another layerfs: it is brought to ` +
      `version ${FORMAT_VERSION} as soon as that has ended`,
  );
}
