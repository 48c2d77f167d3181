import { closeSync, openSync } from 'node:fs';
import { ErrnoError, MS, loopDevice, mount } from '@layerfs/linux';
import type { KernelMark } from '../../store/kernel-mounts.js';

const FLAGS = MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC;
/**
 * How the kernel says that it does not mount this file as it is: before Linux 6.12 or without that option; on a store that itself lies
 * on a stacked filesystem; on a filesystem that cannot serve it.
 */
const NOT_AS_FILE = new Set(['ENOTBLK', 'ELOOP', 'EINVAL', 'EOPNOTSUPP', 'ENOTSUP']);

/**
 * Mounts an EROFS image on a folder: from the file itself (Linux 6.12), else through a loop device, which goes away with the mount.
 * @throws ErrnoError; ENODEV where the kernel has no EROFS
 */
export function mountErofs(image: string, folder: string, allowFile = true): KernelMark['backing'] {
  try {
    if (allowFile) {
      mount(image, folder, 'erofs', FLAGS);
      return 'file';
    }
  } catch (error) {
    if (!(error instanceof ErrnoError) || !NOT_AS_FILE.has(error.code)) throw error;
  }
  const file = openSync(image, 'r');
  try {
    const device = loopDevice(file);
    try {
      mount(device.path, folder, 'erofs', FLAGS);
      return 'loop';
    } finally {
      device.close();
    }
  } finally {
    closeSync(file);
  }
}
