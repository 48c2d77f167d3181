import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { LOCK, flock, tryFlock } from '@layerfs/linux';

/** What is known of a mount, as kept in ROOT/mounts/ID.json. */
export interface MountInfo {
  /** Name of the registry entry. */
  readonly id: string;
  /** Absolute path without symbolic links. */
  readonly mountpoint: string;
  /** The image as it was named. */
  readonly ref: string;
  /** Manifest digest. */
  readonly image: string;
  readonly chainID: string;
  /** diffIDs, base first: what garbage collection must leave alone while this is mounted. */
  readonly layers: readonly string[];
  /** Name of the snapshot that is mounted writable; undefined for a read-only mount. */
  readonly snapshot?: string;
  /** The serving process. */
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: with `pid` it names one process for good. */
  readonly pidStart: string;
  /** ISO 8601. */
  readonly since: string;
  /** Whether the kernel reads objects itself. */
  readonly passthrough: boolean;
  /** Why, or why not; a sentence. */
  readonly passthroughReason: string;
  /** Who called mount(2). */
  readonly transport: 'kernel' | 'fusermount3';
  readonly options: {
    readonly allowOther: boolean;
    readonly allowDevices: boolean;
    readonly allowSetuid: boolean;
    readonly trace?: string;
  };
}

/** A mount as listed. */
export interface ListedMount extends MountInfo {
  /** dead: the server is gone and its mount point answers nothing until it is unmounted. */
  readonly state: 'ready' | 'dead';
}

/** The folder that holds one file for each mount of a store. */
export function registryFolder(root: string): string {
  return join(root, 'mounts');
}

/**
 * The server's own entry. Its file is locked (flock) while the entry lives, so that the entry of a server that was
 * killed shows as stale whatever became of its pid.
 */
export class RegistryEntry {
  readonly #file: string;
  readonly #locks: number[] = [];

  /** @param root the store's folder; the mounts folder is made when absent */
  constructor(root: string, id: string) {
    mkdirSync(registryFolder(root), { recursive: true, mode: 0o755 });
    this.#file = join(registryFolder(root), `${id}.json`);
  }

  /** Writes (or replaces) the entry in one step; readers see the old text or the new, and always a lock. */
  publish(info: MountInfo): void {
    const temporary = `${this.#file}.tmp`;
    const fd = openSync(temporary, 'w', 0o644);
    // Every version stays locked to the end: a reader may have opened the one before.
    this.#locks.push(fd);
    flock(fd, LOCK.EX | LOCK.NB);
    writeSync(fd, `${JSON.stringify(info, undefined, 2)}\n`);
    renameSync(temporary, this.#file);
  }

  /** Removes the file and lets go of the lock. */
  remove(): void {
    rmSync(this.#file, { force: true });
    for (const fd of this.#locks.splice(0)) closeSync(fd);
  }
}

/** An entry as found on disk. */
export interface FoundEntry {
  readonly info: MountInfo;
  /** Its server lives. */
  readonly alive: boolean;
}

/** Reads all entries of a store, whoever made them; files that are being written are left out. */
export function readRegistry(root: string): FoundEntry[] {
  const found: FoundEntry[] = [];
  for (const name of namesIn(registryFolder(root))) {
    if (!name.endsWith('.json')) continue;
    const entry = readEntry(join(registryFolder(root), name));
    if (entry !== undefined) found.push(entry);
  }
  return found.toSorted((a, b) => (a.info.since < b.info.since ? -1 : 1));
}

/** Removes the file of an entry whose server is gone. */
export function forgetEntry(root: string, id: string): void {
  rmSync(join(registryFolder(root), `${id}.json`), { force: true });
}

/** Field 22 of /proc/PID/stat: when a process started, in clock ticks since boot. */
export function processStart(pid: number): string {
  const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
  // The command name stands in parentheses and may hold anything, spaces and parentheses too.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0';
}

function readEntry(file: string): FoundEntry | undefined {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    // Unmounted between the listing and now.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const alive = !tryFlock(fd, LOCK.SH);
    const info = parseInfo(readFileSync(fd, 'utf8'), basename(file, '.json'));
    return info === undefined ? undefined : { info, alive };
  } finally {
    closeSync(fd);
  }
}

function parseInfo(text: string, id: string): MountInfo | undefined {
  try {
    const info = JSON.parse(text) as Partial<MountInfo> | null;
    return info?.id === id && typeof info.mountpoint === 'string' ? (info as MountInfo) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
