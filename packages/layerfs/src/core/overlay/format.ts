/**
 * How an upper folder spells what plain files cannot say, as kernel overlayfs reads and writes it
 * (Documentation/filesystems/overlayfs.rst, fs/overlayfs/namei.c). format: do not change.
 */
import { LayerfsError } from '../error.js';

/** Where the attributes below live: `trusted` needs CAP_SYS_ADMIN, `user` is what mounts without it use. */
export type XattrClass = 'trusted' | 'user';

/** A folder: `y` hides all lower names, `x` says that there are whiteouts spelled as files with attributes inside. */
export const OPAQUE = 'overlay.opaque';
/** An empty file with it is a whiteout, in a folder whose {@link OPAQUE} is `x`. */
export const WHITEOUT = 'overlay.whiteout';
/** A folder or a metacopy: which lower path it continues. See {@link parseRedirect}. */
export const REDIRECT = 'overlay.redirect';
/** A regular file: its content is that of the lower file; size and the rest are its own. Empty value, or a header. */
export const METACOPY = 'overlay.metacopy';
/**
 * Ours, hidden by kernel overlayfs like all `overlay.*`: the st_ino that the file had in the lower, as 8 bytes, little
 * endian. It is what keeps inode numbers the same across copy-up and remount.
 */
export const ORIGIN_INO = 'overlay.layerfs.ino';

/** Names that are the union's own, whatever class: never shown, never set through a mount. */
export function isOverlayXattr(name: string): boolean {
  return (
    name.startsWith('trusted.overlay.') || name.startsWith('user.overlay.') || name.startsWith('user.fuseoverlayfs.')
  );
}

/** Whiteouts as fuse-overlayfs spells them without the right to make devices. */
export const WHITEOUT_PREFIX = '.wh.';
export const OPAQUE_MARKER = '.wh..wh..opq';

/** Bytes. */
export const MAX_REDIRECT = 4096;

/**
 * The names of a redirect, from the root of the lower or, when relative, one name beside the folder's own.
 * @throws LayerfsError corrupt for anything that could lead elsewhere: empty names, `.`, `..`, NUL, a relative path
 */
export function parseRedirect(value: string): { readonly absolute: boolean; readonly names: readonly string[] } {
  const absolute = value.startsWith('/');
  const names = absolute ? value.slice(1).split('/') : [value];
  const bad =
    value.length === 0 ||
    value.length > MAX_REDIRECT ||
    value.includes('\0') ||
    names.some((name) => name === '' || name === '.' || name === '..' || name.includes('/') || name.length > 255);
  if (bad) throw new LayerfsError('corrupt', 'an overlay.redirect attribute does not name a path below the root');
  return { absolute, names };
}
