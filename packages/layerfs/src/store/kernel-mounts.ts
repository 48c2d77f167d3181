/**
 * Mounts that the kernel serves without us: whether one lives is to be asked of the kernel, as no process holds a lock for it.
 * ROOT/mounts/ID.erofs is a hard link to the EROFS image that the mount stands on, and the kernel keeps that file open as long as the
 * mount is used, in whatever mount namespace, and also when it was unmounted lazily.
 */
import { closeSync, openSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { isOpenElsewhere } from '@layerfs/linux/lease';
import { isErrno } from './errors.js';

/** What the registry entry of such a mount has besides the rest. */
export interface KernelMark {
  /** Of /proc/sys/kernel/random/boot_id: no mount outlives it. */
  readonly boot: string;
  /** How the image is mounted: as a file (Linux 6.12), or through a loop device. */
  readonly backing: 'file' | 'loop';
  /** It was unmounted lazily: nobody finds it by path any more. */
  readonly detached?: boolean;
}

/** Names this run of the kernel. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

/** The image of a mount. @param folder ROOT/mounts */
export function mountedImage(folder: string, id: string): string {
  return join(folder, `${id}.erofs`);
}

/** The source that the overlay of a mount shows in /proc/mounts. */
export function overlaySource(id: string): string {
  return `layerfs-${id}`;
}

/**
 * Whether the kernel may still use what a mount stands on: then its layers stay. Where the file system of the store does not tell, it
 * is taken to.
 */
export function kernelMountLives(folder: string, id: string, mark: KernelMark): boolean {
  if (mark.boot !== bootId()) return false;
  let fd: number;
  try {
    fd = openSync(mountedImage(folder, id), 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return isMountedAnywhere(id);
    throw error;
  }
  try {
    return isOpenElsewhere(fd) ?? true;
  } finally {
    closeSync(fd);
  }
}

/** Whether a mount can be seen in any mount namespace that has a process. */
export function isMountedAnywhere(id: string): boolean {
  const text = ` ${overlaySource(id)} `;
  const seen = new Set<string>();
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
      if (seen.has(namespace)) continue;
      seen.add(namespace);
      if (readFileSync(`/proc/${pid}/mountinfo`, 'latin1').includes(text)) return true;
    } catch (error) {
      // It ended meanwhile, or is not for this user to look at.
      if (!isErrno(error, 'ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL')) throw error;
    }
  }
  return false;
}
