import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  rmdirSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ErrnoError, MNT, umount2 } from '@layerfs/linux';
import { flock, LOCK, tryFlock } from '@layerfs/linux/lock';
import { kernelMountLives, mountedImage, type KernelMark } from '../../store/kernel-mounts.js';

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
  /** There is no server: the kernel shows an EROFS image and the objects through overlayfs. */
  readonly kernel?: KernelMark;
  /** The serving process; of a kernel mount the one that made it. */
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: with `pid` it names one process for good. */
  readonly pidStart: string;
  /** ISO 8601. */
  readonly since: string;
  /** Whether the kernel reads objects itself. */
  readonly passthrough: boolean;
  /** Why, or why not; a sentence. */
  readonly passthroughReason: string;
  /** Who called mount(2); `fuse-native`: libfuse, which also speaks with the kernel. */
  readonly transport: 'kernel' | 'fusermount3' | 'fuse-native';
  readonly options: {
    readonly allowOther: boolean;
    readonly allowDevices: boolean;
    readonly allowSetuid: boolean;
    readonly trace?: string;
    readonly profile?: string;
    /** Content is verified when it is opened. */
    readonly verify?: 'open';
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

  /** Lets go of the lock: from now on the entry is as good as what it says of the kernel. */
  release(): void {
    for (const fd of this.#locks.splice(0)) closeSync(fd);
  }

  /** Removes the file and lets go of the lock. */
  remove(): void {
    rmSync(this.#file, { force: true });
    this.release();
  }
}

/** An entry as found on disk. */
export interface FoundEntry {
  readonly info: MountInfo;
  /** Its server lives; of a kernel mount, the kernel uses what it stands on. */
  readonly alive: boolean;
  /** Somebody holds the entry: a server, or who is just mounting. */
  readonly held: boolean;
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

/** Removes the file of an entry whose server is gone, and what a kernel mount has beside it. */
export function forgetEntry(root: string, id: string): void {
  releaseLower(root, id);
  rmSync(mountedImage(registryFolder(root), id), { force: true });
  rmSync(join(registryFolder(root), `${id}.json`), { force: true });
}

/** The folder on which a kernel mount's image is mounted while the mount is being made. */
export function lowerFolder(root: string, id: string): string {
  return join(registryFolder(root), `${id}.lower`);
}

/** Takes a mount's image off that folder, if it is there, and removes the folder. The finished mount does without. */
export function releaseLower(root: string, id: string): void {
  const folder = lowerFolder(root, id);
  if (!existsSync(folder)) return;
  try {
    umount2(folder, MNT.DETACH | MNT.NOFOLLOW);
  } catch (error) {
    // Nothing is mounted there (any more).
    if (!(error instanceof ErrnoError) || error.code !== 'EINVAL') throw error;
  }
  rmdirSync(folder);
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
    const held = !tryFlock(fd, LOCK.SH);
    const info = parseInfo(readFileSync(fd, 'utf8'), basename(file, '.json'));
    if (info === undefined) return undefined;
    const { kernel } = info;
    const alive = held || (kernel !== undefined && kernelMountLives(dirname(file), info.id, kernel));
    return { info, alive, held };
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
