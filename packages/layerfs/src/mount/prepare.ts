import { randomBytes } from 'node:crypto';
import { realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { LayerfsError, type LayerfsErrorCode } from '../core/error.js';
import { resolveOutside } from './registry/locate.js';
import { cleanStale, listMounts } from './registry/mounts.js';
import type { ServePlan } from './server/plan.js';
import { mountTarget, type MountableSnapshot } from './writable.js';

/** What mounting needs of a store; `Store` has it. */
export interface MountSource {
  /** The store's folder. */
  readonly root: string;
  readonly paths: { readonly objects: string };
  /** The merged tree of an image, made when it is not there yet. */
  tree(ref: string): Promise<MountableImage>;
  /** Writable snapshots of images. */
  snapshots(): readonly MountableSnapshot[];
  createSnapshot(ref: string, options: { readonly name?: string }): Promise<MountableSnapshot>;
  /** The merged tree that a snapshot stands on. */
  snapshotTree(name: string): Promise<MountableImage>;
  /** Runs something while nothing may be removed from the store. */
  shared<T>(action: () => Promise<T>): Promise<T>;
}

/** An image, ready to be mounted. */
export interface MountableImage {
  /** The name in full. */
  readonly ref: string;
  /** Manifest digest. */
  readonly image: string;
  readonly chainID: string;
  /** Base first. */
  readonly diffIDs: readonly string[];
  /** File of the merged tree. */
  readonly path: string;
  /** Mean size in bytes of the content of its files, about. */
  readonly meanSize: number;
}

/** How to mount. */
export interface MountOptions {
  /** Mount a writable snapshot of the image; read-only unless told. */
  readonly writable?: boolean;
  /** With `writable`: the snapshot's name. One of that name is mounted again, otherwise it is made; a new one is made without. */
  readonly name?: string;
  /** With `writable`: do not wait for the disk; what is changed may be lost or damaged when the machine crashes. */
  readonly volatile?: boolean;
  /**
   * Let the kernel read objects itself where it can. Unless told: for a writable mount, and for an image whose files are
   * large ({@link LARGE_FILES}).
   */
  readonly passthrough?: boolean;
  /** Let other users in, who then see what owners and modes allow. True for root unless told; others need `user_allow_other` in /etc/fuse.conf. */
  readonly allowOther?: boolean;
  /** Let device files work; false unless told. */
  readonly allowDevices?: boolean;
  /** Let set-user-ID and set-group-ID programs and file capabilities work; false unless told. */
  readonly allowSetuid?: boolean;
  /**
   * Who speaks with the kernel. `kernel`: we do, on /dev/fuse. `fuse-native`: libfuse 2, by the npm package of that name, in a process
   * of its own; what that cannot do is in docs/mount.md. `auto`, unless told: `kernel` on Linux, `fuse-native` elsewhere.
   */
  readonly transport?: 'auto' | 'kernel' | 'fuse-native';
  /**
   * `open`: an object's sha256 is checked the first time that it is opened in this mount, and again when its file was changed. A file
   * whose content is damaged gives EIO, and a line in `mounts/ID.log`.
   */
  readonly verify?: 'open';
  /** A file that gets a line for each request. */
  readonly trace?: string;
  /** A file that gets counts and latencies for each opcode when the mount ends, and a CPU profile beside it (`.cpuprofile`). */
  readonly profile?: string;
  /** How often the server looks for a next request before it sleeps (a look is half a microsecond); 0: never. */
  readonly spins?: number;
  /** Gives up; a mount that is there already is unmounted lazily. */
  readonly signal?: AbortSignal;
}

/**
 * Checks the mount point, cleans what a dead server left on it, and puts a plan together.
 * @param suits throws for an image that cannot be mounted, before a snapshot is made of it
 * @throws LayerfsError not-found, invalid-argument, already-exists, permission-denied
 */
export async function planMount(
  source: MountSource,
  ref: string,
  mountpoint: string,
  options: MountOptions,
  suits?: (image: MountableImage) => Promise<void>,
): Promise<ServePlan> {
  const transport = transportOf(options);
  // First: a mount that cannot be must not leave a new snapshot behind.
  const place = await freeMountpoint(source.root, mountpoint, ref);
  const { image, writable } = await mountTarget(source, ref, options, suits);
  return {
    root: source.root,
    tree: image.path,
    objects: source.paths.objects,
    info: {
      id: randomBytes(8).toString('hex'),
      mountpoint: place,
      ref: image.ref,
      image: image.image,
      chainID: image.chainID,
      layers: image.diffIDs,
      ...(writable === undefined ? {} : { snapshot: writable.snapshot }),
      options: {
        allowOther: options.allowOther ?? (process.geteuid?.() === 0 && !knowsNoCaller(transport, options)),
        allowDevices: options.allowDevices ?? false,
        allowSetuid: options.allowSetuid ?? false,
        ...(options.verify === undefined ? {} : { verify: options.verify }),
        ...(options.trace === undefined ? {} : { trace: resolve(options.trace) }),
        ...(options.profile === undefined ? {} : { profile: resolve(options.profile) }),
      },
    },
    transport,
    ...readByServer(transport, options, image),
    ...(writable === undefined ? {} : { writable }),
    ...(options.spins === undefined ? {} : { spins: options.spins }),
  };
}

/**
 * Mean size of files, in bytes, from which on passthrough is the faster way to read an image. Opening by passthrough costs
 * two requests, some 50 microseconds, each time; a file that goes through the server costs none but once for each
 * 128 KiB of it, at a little more than a gigabyte a second.
 */
export const LARGE_FILES = 64 * 1024;

function readByServer(
  transport: ServePlan['transport'],
  options: MountOptions,
  image: MountableImage,
): Pick<ServePlan, 'noPassthrough'> {
  if (transport === 'fuse-native') return { noPassthrough: 'libfuse 2 has no passthrough.' };
  if (options.passthrough === false) return { noPassthrough: 'Switched off by option.' };
  if (options.passthrough === true || options.writable === true || image.meanSize >= LARGE_FILES) return {};
  return { noPassthrough: 'The files are small: the kernel keeps what was read once, and opens them without asking.' };
}

/** @throws LayerfsError invalid-argument for what the transport cannot do */
function transportOf(options: MountOptions): ServePlan['transport'] {
  const { transport = 'auto', allowOther } = options;
  const chosen = transport === 'auto' ? (process.platform === 'linux' ? 'kernel' : 'fuse-native') : transport;
  if (knowsNoCaller(chosen, options) && allowOther === true) {
    throw new LayerfsError(
      'invalid-argument',
      'A writable mount by fuse-native is for its own user only: fuse-native does not say who makes a file',
    );
  }
  return chosen;
}

function knowsNoCaller(transport: ServePlan['transport'], { writable }: MountOptions): boolean {
  return transport === 'fuse-native' && writable === true;
}

async function freeMountpoint(root: string, mountpoint: string, ref: string): Promise<string> {
  const mounts = listMounts(root);
  const path = resolveOutside(
    mountpoint,
    mounts.map((mount) => mount.mountpoint),
  );
  const taken = mounts.findLast((mount) => mount.mountpoint === path);
  if (taken?.state === 'ready') {
    throw new LayerfsError(
      'already-exists',
      [ref, `${ref}:latest`].includes(taken.ref)
        ? `${ref} is already mounted on ${path}`
        : `${path} already has ${taken.ref} mounted; unmount that first`,
    );
  }
  if (taken !== undefined) await cleanStale(root, path);
  return checkFolder(path);
}

function checkFolder(path: string): string {
  try {
    if (!statSync(path).isDirectory()) {
      throw new LayerfsError('invalid-argument', `The mount point ${path} is not a folder`);
    }
    return join(realpathSync(dirname(path)), basename(path));
  } catch (error) {
    if (error instanceof LayerfsError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = REASONS.get(code ?? '');
    if (reason === undefined) throw new LayerfsError('unavailable', `Cannot use ${path}: ${message}`, { cause: error });
    throw new LayerfsError(reason[0], `The mount point ${path} ${reason[1]}`, { cause: error });
  }
}

const REASONS: ReadonlyMap<string, readonly [LayerfsErrorCode, string]> = new Map<
  string,
  readonly [LayerfsErrorCode, string]
>([
  ['ENOENT', ['not-found', 'does not exist; make it with mkdir']],
  ['ENOTDIR', ['invalid-argument', 'lies below something that is not a folder']],
  ['EACCES', ['permission-denied', 'cannot be reached by this user']],
  [
    'ENOTCONN',
    ['failed-precondition', 'is left over from a FUSE server that died and is not of this store; umount it first'],
  ],
]);
