import { closeSync, constants, openSync, statSync } from 'node:fs';
import { hasMachineIds } from '@layerfs/linux/initial-namespace';
import { ErrnoError, MNT, MS, mount, umount2 } from '@layerfs/linux';
import { MountError } from './error.js';
import type { MountOptions } from './options.js';

const DEVICE = '/dev/fuse';

/** Opens /dev/fuse, non-blocking. Throws MountError saying what is missing: the device, or the right to use it. */
export function openDevice(): number {
  try {
    return openSync(DEVICE, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENXIO' || code === 'ENODEV')
      throw new MountError(
        'no-device',
        `there is no ${DEVICE}: the kernel module fuse is not loaded, or this container was not given the device`,
        error,
      );
    if (code === 'EACCES' || code === 'EPERM')
      throw new MountError('not-permitted', `no right to open ${DEVICE}: its mode or this sandbox forbids it`, error);
    throw error;
  }
}

/** Checks that the mountpoint is a folder. Throws MountError. */
export function checkMountpoint(mountpoint: string): void {
  let stats;
  try {
    stats = statSync(mountpoint);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw new MountError('no-mountpoint', `mountpoint ${mountpoint} does not exist`, error);
    if (code === 'ENOTCONN')
      throw new MountError('stale', `mountpoint ${mountpoint} is left over from a server that is gone`, error);
    throw error;
  }
  if (!stats.isDirectory()) throw new MountError('not-a-folder', `mountpoint ${mountpoint} is not a folder`);
}

/**
 * Mounts with mount(2), as root. Returns the device descriptor, for a Connection.
 * Throws MountError when the mountpoint is missing or no folder, or without the right to mount.
 */
export function mountKernel(options: MountOptions): number {
  checkMountpoint(options.mountpoint);
  const fd = openDevice();
  try {
    const rootMode = (options.rootMode ?? 0o40000).toString(8);
    const data = [
      `fd=${fd}`,
      `rootmode=${rootMode}`,
      `user_id=${process.geteuid?.() ?? 0}`,
      `group_id=${process.getegid?.() ?? 0}`,
    ];
    if (options.allowOther === true) data.push('allow_other');
    if (options.defaultPermissions === true) data.push('default_permissions');
    const flags =
      (options.readOnly === true ? MS.RDONLY : 0) |
      (options.noSetuid === true ? MS.NOSUID : 0) |
      (options.noDevices === true ? MS.NODEV : 0) |
      (options.noExec === true ? MS.NOEXEC : 0) |
      (options.noAtime === true ? MS.NOATIME : 0);
    mount(options.fsname, options.mountpoint, `fuse.${options.subtype}`, flags, data.join(','));
    return fd;
  } catch (error) {
    closeSync(fd);
    if (error instanceof ErrnoError && error.code === 'EPERM')
      throw new MountError('not-permitted', `no right to mount on ${options.mountpoint}: ${whatIsNeeded()}`, error);
    throw error;
  }
}

function whatIsNeeded(): string {
  return hasMachineIds()
    ? 'needs root with CAP_SYS_ADMIN'
    : 'in a user namespace this needs a mount namespace, too (unshare -Urm, podman unshare)';
}

/** Unmounts with umount2(2). `lazy`: at once out of sight, ended when the last user is gone. Throws ErrnoError (EBUSY). */
export function unmountKernel(mountpoint: string, lazy = false): void {
  umount2(mountpoint, (lazy ? MNT.DETACH : 0) | MNT.NOFOLLOW);
}
