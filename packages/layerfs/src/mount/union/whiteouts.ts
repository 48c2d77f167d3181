import {
  ErrnoError,
  errno,
  O,
  close,
  getXattr,
  linkat,
  listXattrs,
  makedev,
  mknodat,
  openat,
  renameat2,
  setXattr,
  unlinkat,
  type Statx,
} from '@layerfs/linux';
import { latin1Bytes } from '../../core/bytes.js';
import * as format from '../../core/overlay/format.js';
import { S_IFCHR, S_IFMT, S_IFREG } from '../../core/tree/format.js';

/** In the staging folder: the one inode that all whiteouts of a mount are names of. */
export const STAGED_WHITEOUT = 'whiteout';

/**
 * Whiteouts in upper: 0:0 devices. Where those cannot be made (Linux before 5.8 without root, sandboxes, filesystems without
 * devices), they are empty files with `overlay.whiteout`, in folders that say so by `overlay.opaque` = `x`, as kernel
 * overlayfs reads them in lower layers since Linux 6.8.
 */
export class Whiteouts {
  /** Whether they are devices. */
  readonly devices: boolean;
  readonly #root: number;
  readonly #staging: number;
  readonly #xattrClass: format.XattrClass;
  #staged = false;
  #sequence = 0;

  constructor(upper: number, staging: number, xattrClass: format.XattrClass) {
    this.#root = upper;
    this.#staging = staging;
    this.#xattrClass = xattrClass;
    this.devices = this.#stageDevice();
  }

  /** Tries it: who may do it hangs on kernel, filesystem and sandbox. */
  #stageDevice(): boolean {
    try {
      mknodat(this.#staging, STAGED_WHITEOUT, S_IFCHR, makedev(0, 0));
      this.#staged = true;
      return true;
    } catch (error) {
      if (!(error instanceof ErrnoError)) throw error;
      // Anything else, such as a full disk, says nothing of devices, and whoever needs a whiteout is told.
      return !REFUSALS.has(error.errno);
    }
  }

  /** Puts one where nothing is. What is put into the staging folder is to be announced where it goes. */
  make(dir: number, name: Uint8Array): void {
    if (dir !== this.#staging) this.announce(dir);
    for (;;) {
      if (!this.#staged) this.#stage();
      try {
        linkat(this.#staging, STAGED_WHITEOUT, dir, name);
        return;
      } catch (error) {
        if (!(error instanceof ErrnoError) || error.errno !== errno.EMLINK) throw error;
        unlinkat(this.#staging, STAGED_WHITEOUT);
        this.#staged = false;
      }
    }
  }

  #stage(): void {
    if (this.devices) mknodat(this.#staging, STAGED_WHITEOUT, S_IFCHR, makedev(0, 0));
    else {
      const fd = openat(this.#staging, STAGED_WHITEOUT, O.WRONLY | O.CREAT | O.TRUNC | O.NOFOLLOW, 0o600);
      try {
        setXattr(fd, `${this.#xattrClass}.${format.WHITEOUT}`, NOTHING);
      } finally {
        close(fd);
      }
    }
    this.#staged = true;
  }

  /** Puts one in the place of a file, in one step. */
  replace(dir: number, name: Uint8Array): void {
    const staged = latin1Bytes(`w${this.#sequence++}`);
    this.make(this.#staging, staged);
    this.announce(dir);
    renameat2(this.#staging, staged, dir, name);
  }

  /** Says of a folder that there are whiteouts in it, where they do not say it themselves. */
  announce(dir: number): void {
    if (this.devices) return;
    // The kernel looks for them only in layers whose root says so, too.
    for (const folder of dir === this.#root ? [dir] : [this.#root, dir]) this.#mark(folder);
  }

  #mark(dir: number): void {
    const target = Buffer.from(`/proc/self/fd/${dir}/.`);
    const attribute = `${this.#xattrClass}.${format.OPAQUE}`;
    // An opaque folder hides everything by itself.
    if (getXattr(target, attribute) === undefined) setXattr(target, attribute, latin1Bytes('x'));
  }

  /** Whether what stat says of a file is said of a whiteout. @param path asked for only when it could be one by attribute */
  is(stat: Statx, path: () => Uint8Array): boolean {
    const type = stat.mode & S_IFMT;
    if (type === S_IFCHR) return stat.rdevMajor === 0 && stat.rdevMinor === 0;
    if (this.devices || type !== S_IFREG || stat.size !== 0) return false;
    return listXattrs(path()).includes(`${this.#xattrClass}.${format.WHITEOUT}`);
  }
}

const REFUSALS = new Set<number>([errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS]);
const NOTHING = new Uint8Array();
