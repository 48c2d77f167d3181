import { readMountinfo, type MountEntry } from './mountinfo.js';
import { resolveOutside } from './locate.js';
import {
  forgetEntry,
  readRegistry,
  registryFolder,
  releaseLower,
  type ListedMount,
  type MountInfo,
} from './registry.js';
import { kernelMountLives, overlaySource, type KernelMark } from '../../store/kernel-mounts.js';
import { detach } from './detach.js';

/** What the kernel calls our mounts. */
export const FILESYSTEM_TYPE = 'fuse.layerfs';

/**
 * The mounts of a store, oldest first. Entries of dead servers whose mount point is free again are removed on the way.
 * @param root the store's folder
 */
export function listMounts(root: string): ListedMount[] {
  const table = readMountinfo();
  const listed: ListedMount[] = [];
  for (const { info, alive, held } of readRegistry(root)) {
    if (info.kernel !== undefined && !held) {
      // One that is not here may be in another mount namespace, or be used though it was unmounted lazily.
      if (kernelMountAt(info, table) !== undefined) listed.push({ ...info, state: 'ready' });
      else sweepKernelEntry(root, info.id, info.kernel);
    } else if (alive) listed.push({ ...info, state: 'ready' });
    else if (ourMount(info.mountpoint, table) !== undefined) listed.push({ ...info, state: 'dead' });
    else forgetEntry(root, info.id);
  }
  // A mount point that a dead server left and a new one covers belongs to the new one.
  return listed.filter(
    (mount) =>
      mount.state === 'ready' ||
      !listed.some((other) => other.state === 'ready' && other.mountpoint === mount.mountpoint),
  );
}

/**
 * The mount that a path lies in. Looks at the path's text and at symbolic links outside the mounts only.
 * @returns undefined when it lies in no mount of this store; `inside` is absolute in the image, `/` for its root
 */
export function findMount(root: string, path: string): { mount: ListedMount; inside: string } | undefined {
  const mounts = listMounts(root);
  const absolute = resolveOutside(
    path,
    mounts.map((mount) => mount.mountpoint),
  );
  const candidates = mounts.filter(
    ({ mountpoint }) => absolute === mountpoint || absolute.startsWith(mountpoint === '/' ? '/' : `${mountpoint}/`),
  );
  const mount = candidates.toSorted((a, b) => b.mountpoint.length - a.mountpoint.length)[0];
  if (mount === undefined) return undefined;
  const inside = absolute.slice(mount.mountpoint === '/' ? 0 : mount.mountpoint.length);
  return { mount, inside: inside === '' ? '/' : inside };
}

/**
 * Unmounts what killed servers left behind ("Transport endpoint is not connected") and removes their entries.
 * @param only clean just this mount point
 * @returns the mounts cleaned
 * @throws LayerfsError when a dead mount cannot be unmounted
 */
export async function cleanStale(root: string, only?: string): Promise<MountInfo[]> {
  const cleaned: MountInfo[] = [];
  for (const { state, ...info } of listMounts(root)) {
    if (state !== 'dead' || (only !== undefined && info.mountpoint !== only)) continue;
    // Lazily: nothing can be read from it any more, whoever still has it open.
    await detach(info.mountpoint, { lazy: true });
    forgetEntry(root, info.id);
    cleaned.push(info);
  }
  return cleaned;
}

/** The topmost mount at a path, if it is one of ours. */
export function ourMount(mountpoint: string, table: readonly MountEntry[] = readMountinfo()): MountEntry | undefined {
  const entry = table.findLast((candidate) => candidate.mountpoint === mountpoint);
  return entry?.type === FILESYSTEM_TYPE ? entry : undefined;
}

/** The mount of a kernel mount's entry, if it is the topmost at its place. */
export function kernelMountAt(info: MountInfo, table: readonly MountEntry[] = readMountinfo()): MountEntry | undefined {
  const entry = table.findLast((candidate) => candidate.mountpoint === info.mountpoint);
  return entry?.type === 'overlay' && entry.source === overlaySource(info.id) ? entry : undefined;
}

function sweepKernelEntry(root: string, id: string, mark: KernelMark): void {
  // Who made the mount was killed on the way.
  releaseLower(root, id);
  if (!kernelMountLives(registryFolder(root), id, mark)) forgetEntry(root, id);
}
