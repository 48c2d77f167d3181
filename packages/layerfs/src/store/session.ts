/** Work under way: a locked folder that says what the work needs, and holds what it has written so far. */
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { flock, LOCK, tryFlock } from '@layerfs/linux/lock';
import type { DiffID } from '../core/digest.js';
import { LayerfsError } from '../core/error.js';
import type { StoreContext } from './context.js';
import { isErrno } from './errors.js';
import type { ImageRecord } from './meta.js';
import type { StorePaths } from './paths.js';

/** What a session keeps from being taken away. */
export interface Keeps {
  /** What the work is, for people: `import`, `export app:latest`. */
  readonly doing: string;
  readonly pid: number;
  /** Images as a whole. */
  readonly images: readonly ImageRecord[];
  readonly layers: readonly DiffID[];
  /** Names of snapshots. */
  readonly snapshots: readonly string[];
}

/** A session that lives. */
export interface LiveSession extends Keeps {
  /** The folder's name. */
  readonly id: string;
}

const LOCK_NAME = 'lock';
const KEEPS = 'keeps.json';
const NAME = /^session-(\d+)-/;

/**
 * A session lives as long as its process, and ends with it whatever happens. What it keeps stays in the store until then;
 * nothing in its folder is ever trusted.
 */
export class Session {
  readonly folder: string;
  /** {@link Meta.deletions} when it began. */
  readonly since: number;
  readonly #fd: number;
  #keeps: Keeps;
  #open = true;

  /**
   * Call with the store's lock held shared: whoever holds it exclusively sees all sessions there are.
   * @param keeps what is there, and shall stay
   */
  constructor({ paths, meta }: StoreContext, doing: string, keeps: Kept<unknown>['keep'] = {}) {
    this.since = meta.deletions();
    this.folder = mkdtempSync(join(paths.ingest, `session-${this.since}-`));
    this.#keeps = { doing, pid: process.pid, images: [], layers: [], snapshots: [], ...keeps };
    let fd: number | undefined;
    try {
      fd = openSync(join(this.folder, LOCK_NAME), 'w', 0o600);
      // Whoever lists sessions may be looking at it, for a moment.
      flock(fd, LOCK.EX);
      mkdirSync(join(this.folder, 'objects'));
      this.#write();
    } catch (error) {
      // Locked by nobody who would ever end it, it would live as long as this process.
      if (fd !== undefined) closeSync(fd);
      rmSync(this.folder, { recursive: true, force: true });
      throw error;
    }
    this.#fd = fd;
  }

  /** Keeps these too. Call with the store's lock held shared, and make sure that they are there. */
  keep(more: Partial<Pick<Keeps, 'images' | 'layers' | 'snapshots'>>): void {
    const { images, layers, snapshots } = this.#keeps;
    const kept = new Set([...layers, ...(more.layers ?? [])]);
    if (kept.size === layers.length && more.images === undefined && more.snapshots === undefined) return;
    this.#keeps = {
      ...this.#keeps,
      images: [...images, ...(more.images ?? [])],
      layers: [...kept],
      snapshots: [...snapshots, ...(more.snapshots ?? [])],
    };
    this.#write();
  }

  /** Removes the folder and all that was not moved out of it. */
  end(): void {
    if (!this.#open) return;
    this.#open = false;
    try {
      removeSession(this.folder);
    } finally {
      closeSync(this.#fd);
    }
  }

  /** Leaves the folder as that of a process that died: the next sweep removes it and what it names. */
  abandon(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }

  #write(): void {
    const temporary = join(this.folder, `${KEEPS}.new`);
    writeFileSync(temporary, JSON.stringify(this.#keeps), { mode: 0o600 });
    renameSync(temporary, join(this.folder, KEEPS));
  }
}

/** What long work was looking for, and what of it has to stay meanwhile. */
export interface Kept<T> {
  readonly found: T;
  readonly keep: Partial<Pick<Keeps, 'images' | 'layers' | 'snapshots'>>;
}

/**
 * Runs long work on what `find` finds in the store, which stays whole meanwhile. The store's lock is not held.
 * @param doing what the work is, for people
 */
export async function withKept<F, T>(
  context: StoreContext,
  doing: string,
  signal: AbortSignal | undefined,
  find: () => Kept<F>,
  work: (found: F) => Promise<T>,
): Promise<T> {
  const { session, found } = await context.lock.shared(signal, () => {
    const { found, keep } = find();
    return { session: new Session(context, doing, keep), found };
  });
  try {
    return await work(found);
  } finally {
    session.end();
  }
}

/** The sessions of a store: what those keep that live, and the folders of those that do not. */
export function readSessions(paths: StorePaths): { live: LiveSession[]; dead: string[] } {
  const live: LiveSession[] = [];
  const dead: string[] = [];
  for (const id of readdirSync(paths.ingest)) {
    if (!NAME.test(id)) continue;
    const folder = join(paths.ingest, id);
    let fd: number;
    try {
      fd = openSync(join(folder, LOCK_NAME), constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      // Being made, which the store's lock rules out for whoever holds it alone, or all but gone.
      if (!isErrno(error, 'ENOENT')) throw error;
      dead.push(folder);
      continue;
    }
    try {
      if (tryFlock(fd, LOCK.SH)) dead.push(folder);
      else live.push({ id, ...readKeeps(join(folder, KEEPS)) });
    } finally {
      closeSync(fd);
    }
  }
  return { live, dead };
}

/** {@link Meta.deletions} when the oldest session that lives began. */
export function oldestSession(paths: StorePaths): number {
  const began = readSessions(paths).live.map(({ id }) => Number(NAME.exec(id)?.[1] ?? 0));
  return Math.min(...began, Number.POSITIVE_INFINITY);
}

/** Removes a session's folder; the lock last, so that a folder without one is of nobody. */
export function removeSession(folder: string): void {
  for (const name of namesIn(folder)) {
    if (name !== LOCK_NAME) rmSync(join(folder, name), { recursive: true, force: true });
  }
  for (const remove of [() => unlinkSync(join(folder, LOCK_NAME)), () => rmdirSync(folder)]) {
    try {
      remove();
    } catch (error) {
      // Another one swept it.
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

function readKeeps(path: string): Keeps {
  let keeps: Partial<Keeps>;
  try {
    keeps = JSON.parse(readFileSync(path, 'utf8')) as Partial<Keeps>;
  } catch (error) {
    // It ended just now.
    if (isErrno(error, 'ENOENT')) return { doing: '', pid: 0, images: [], layers: [], snapshots: [] };
    throw error;
  }
  const { doing, pid, images, layers, snapshots } = keeps;
  if (typeof doing === 'string' && typeof pid === 'number') {
    if ([images, layers, snapshots].every((list) => Array.isArray(list))) return keeps as Keeps;
  }
  throw new LayerfsError('failed-precondition', `${path} is in use but cannot be read: nothing is removed`);
}
