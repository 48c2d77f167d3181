/** Kernel overlayfs: the reference, and a subject to test the tester with. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { MS, mount, umount2 } from '@layerfs/linux';
import { hasMachineIds } from '@layerfs/linux/initial-namespace';
import type { Place, Subject } from './subject.js';

/**
 * As good as overlayfs can be: folders of lowers can be renamed, hardlinks of lowers stay linked. Not metacopy: when the data
 * follows later, mtime changes although nothing was written, and files with long names cannot be linked. In a user namespace there is none
 * of it.
 */
export const CAPABLE = hasMachineIds() ? 'redirect_dir=on,metacopy=off,index=on,xino=off' : 'userxattr';
/** What an upper that layerfs wrote must be readable with. */
export const PLAIN = hasMachineIds() ? 'redirect_dir=on,metacopy=on,index=off,xino=off' : 'userxattr';

/** Mounts are alike in that devices do not work and setuid programs have no rights. */
export const FLAGS = MS.NODEV | MS.NOSUID;

export function mountOverlay(
  lowers: readonly string[],
  upper: string,
  work: string,
  mountpoint: string,
  options: string,
): void {
  for (const folder of [upper, work, mountpoint]) mkdirSync(folder, { recursive: true });
  const data = `lowerdir=${lowers.join(':')},upperdir=${upper},workdir=${work},${options}`;
  mount('overlay', mountpoint, 'overlay', FLAGS, data);
}

function overlayfs(name: string, options: string): Subject {
  return {
    name,
    // Of merged folders overlayfs shows 1 link.
    promises: { stableIno: true, folderNlink: false, oneDevice: true },
    kernelOptions: options,
    mount(place: Place) {
      mountOverlay(place.lowers.folders, this.upper(place), join(place.folder, 'work'), place.mountpoint, options);
    },
    unmount(place: Place) {
      umount2(place.mountpoint);
    },
    upper: (place: Place) => join(place.folder, 'upper'),
  };
}

export const kernel = overlayfs('kernel', CAPABLE);
/** Breaks hardlinks of lowers when they are copied up: to see that the tester sees it. */
export const kernelWithoutIndex = overlayfs('kernel-without-index', PLAIN);
