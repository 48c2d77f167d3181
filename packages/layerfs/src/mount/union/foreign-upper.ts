import {
  AT,
  DT,
  O,
  close,
  getXattr,
  listXattrs,
  openat,
  readDirents,
  removeXattr,
  setXattr,
  tryStatx,
  unlinkat,
} from '@layerfs/linux';
import { latin1, latin1Bytes } from '../../core/bytes.js';
import * as format from '../../core/overlay/format.js';
import type { Whiteouts } from './whiteouts.js';

/** On the root of an upper folder that is spelled as we do: with whiteouts that are devices, or files with attributes. */
const OWN = 'overlay.layerfs.upper';
const BY_DEVICES = '1';
const BY_ATTRIBUTES = '2';
const FOREIGN_OPAQUE = 'user.fuseoverlayfs.opaque';
/** fuse-overlayfs writes it beside the other one, for old versions of itself. */
const OLD_OPAQUE_MARKER = '.wh..opq';
const YES = latin1Bytes('y');

/** Another spelling of the same: from an attribute of the user class, or of fuse-overlayfs, to our class. */
const MARKS = [format.OPAQUE, format.REDIRECT, format.METACOPY];

/**
 * Rewrites what fuse-overlayfs, or kernel overlayfs without privileges, spelled in its own ways in an upper folder:
 * `.wh.` files, whiteouts by attribute, attributes of the user class. Once for each folder; the result is what kernel
 * overlayfs with privileges reads and writes, so that nothing else need be looked for while mounted.
 * @param upper descriptor of the folder
 * @param whiteouts how they are to be spelled from now on
 */
export function adoptForeignUpper(upper: number, xattrClass: format.XattrClass, whiteouts: Whiteouts): void {
  const spelled = getXattr(upper, `${xattrClass}.${OWN}`);
  const spelling = whiteouts.devices ? BY_DEVICES : BY_ATTRIBUTES;
  if (spelled !== undefined && latin1(spelled) === spelling) return;
  new Adoption(xattrClass, whiteouts).folder(upper);
  setXattr(upper, `${xattrClass}.${OWN}`, latin1Bytes(spelling));
}

class Adoption {
  readonly #whiteouts: Whiteouts;
  readonly #prefix: string;

  constructor(xattrClass: format.XattrClass, whiteouts: Whiteouts) {
    this.#whiteouts = whiteouts;
    this.#prefix = `${xattrClass}.`;
  }

  folder(fd: number): void {
    const entries: { name: string; type: number }[] = [];
    readDirents(fd, (name, type) => void entries.push({ name, type }));
    const byAttribute = this.#marks(fd);
    for (const { name, type } of entries) {
      if (type === DT.REG && name === format.OPAQUE_MARKER) {
        setXattr(fd, this.#prefix + format.OPAQUE, YES);
        unlinkat(fd, latin1Bytes(name));
      } else if (type === DT.REG && name.startsWith(format.WHITEOUT_PREFIX)) this.#markerFile(fd, name);
      else if (type === DT.DIR) this.#inside(fd, name);
      else if (type === DT.REG) this.#file(fd, name, byAttribute);
    }
    // Not before: after a crash they would be taken for files.
    if (byAttribute && this.#whiteouts.devices) removeXattr(fd, this.#prefix + format.OPAQUE);
  }

  #inside(parent: number, name: string): void {
    const fd = openat(parent, latin1Bytes(name), O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
    try {
      this.folder(fd);
    } finally {
      close(fd);
    }
  }

  /** Brings a folder's attributes to our class. Returns whether it may hold whiteouts by attribute. */
  #marks(fd: number): boolean {
    const names = new Set(listXattrs(fd));
    if (names.has(FOREIGN_OPAQUE)) {
      setXattr(fd, this.#prefix + format.OPAQUE, YES);
      removeXattr(fd, FOREIGN_OPAQUE);
    }
    this.#reclass(fd, names);
    const opaque = getXattr(fd, this.#prefix + format.OPAQUE);
    return opaque !== undefined && latin1(opaque) === 'x';
  }

  #reclass(fd: number, names: ReadonlySet<string>): void {
    if (this.#prefix === 'user.') return;
    for (const mark of MARKS) {
      const name = `user.${mark}`;
      const value = names.has(name) ? getXattr(fd, name) : undefined;
      if (value === undefined) continue;
      setXattr(fd, this.#prefix + mark, value);
      removeXattr(fd, name);
    }
  }

  #markerFile(dir: number, marker: string): void {
    const name = latin1Bytes(marker.slice(format.WHITEOUT_PREFIX.length));
    // `.wh..wh.` and such are notes of aufs.
    const hides = !marker.startsWith('.wh..wh.') && marker !== OLD_OPAQUE_MARKER && name.length > 0;
    if (hides && tryStatx(dir, name, AT.SYMLINK_NOFOLLOW) === undefined) this.#whiteouts.make(dir, name);
    unlinkat(dir, latin1Bytes(marker));
  }

  #file(dir: number, name: string, byAttribute: boolean): void {
    const bytes = latin1Bytes(name);
    const path = Buffer.concat([Buffer.from(`/proc/self/fd/${dir}/`), bytes]);
    const names = new Set(listXattrs(path));
    if (names.size === 0) return;
    const whiteout = [`user.${format.WHITEOUT}`, this.#prefix + format.WHITEOUT].some((mark) => names.has(mark));
    if (byAttribute && whiteout) {
      if (this.#whiteouts.devices || !names.has(this.#prefix + format.WHITEOUT)) this.#whiteouts.replace(dir, bytes);
      return;
    }
    if (!MARKS.some((mark) => names.has(`user.${mark}`)) || this.#prefix === 'user.') return;
    const fd = openat(dir, bytes, O.RDONLY | O.NOFOLLOW);
    try {
      this.#reclass(fd, names);
    } finally {
      close(fd);
    }
  }
}
