/**
 * What the layers say by other means than plain files: whiteouts, opaque folders, redirects, metacopies. Attributes of
 * both classes count, `trusted` before `user`, and fuse-overlayfs's own; what this process may not see, it does not get.
 */
import { ErrnoError, errno } from '@layerfs/linux';
import { latin1 } from '../../../core/bytes.js';
import { LayerfsError } from '../../../core/error.js';
import {
  METACOPY,
  OPAQUE,
  OPAQUE_MARKER,
  REDIRECT,
  WHITEOUT,
  WHITEOUT_PREFIX,
  parseRedirect,
} from '../../../core/overlay/format.js';
import type { Layers, Part } from './layers.js';

const CLASSES = ['trusted.', 'user.'] as const;
const FUSE_OVERLAYFS_OPAQUE = 'user.fuseoverlayfs.opaque';
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const MAX_NAME = 255;

/** A redirect, taken apart. */
export type Redirect = ReturnType<typeof parseRedirect>;

/** What a folder or a regular file of a layer says of the layers below. */
export interface Marks {
  /** A folder: nothing below it is seen. */
  readonly opaque: boolean;
  /** A folder: see {@link Part.xwhiteouts}. */
  readonly xwhiteouts: boolean;
  /** A regular file: its content lies further below. */
  readonly metacopy: boolean;
  readonly redirect: Redirect | undefined;
}

/** What a name that begins as markers do hides, undefined when it hides nothing. No such name is ever shown. */
export function hiddenByMarker(name: string): string | undefined {
  const hidden = name.slice(WHITEOUT_PREFIX.length);
  const nothing = hidden === '' || hidden === '.' || hidden === '..' || hidden.startsWith(WHITEOUT_PREFIX);
  return nothing ? undefined : hidden;
}

/** Whether a file beside `name` hides it in the layers below. */
export function hasMarker(layers: Layers, folder: Part, name: string): boolean {
  if (folder.markers === false || name.length > MAX_NAME - WHITEOUT_PREFIX.length) return false;
  return layers.stat(folder, WHITEOUT_PREFIX + name);
}

/** Whether the file that was just found (`layers.found`) under this name is a whiteout. */
export function isWhiteout(layers: Layers, folder: Part, name: string): boolean {
  if (layers.foundWhiteout()) return true;
  if (!folder.xwhiteouts || (layers.found.mode & S_IFMT) !== S_IFREG || layers.found.size !== 0) return false;
  return hasAttribute(layers.listXattrs(folder, name), WHITEOUT);
}

/**
 * Reads the marks of a folder or a regular file.
 * @throws ErrnoError EIO for a redirect that names no path below the root
 */
export function readMarks(layers: Layers, folder: Part, name: string): Marks {
  const names = layers.listXattrs(folder, name);
  if (names.length === 0) return NOTHING;
  const value = (attribute: string): string | undefined => {
    for (const each of CLASSES) {
      if (!names.includes(each + attribute)) continue;
      const bytes = layers.xattr(folder, name, each + attribute);
      if (bytes !== undefined) return latin1(bytes);
    }
    return undefined;
  };
  let opaque = value(OPAQUE);
  if (opaque === undefined && names.includes(FUSE_OVERLAYFS_OPAQUE)) {
    const bytes = layers.xattr(folder, name, FUSE_OVERLAYFS_OPAQUE);
    if (bytes !== undefined) opaque = latin1(bytes);
  }
  const redirect = value(REDIRECT);
  return {
    opaque: opaque === 'y',
    xwhiteouts: opaque === 'x',
    metacopy: hasAttribute(names, METACOPY),
    redirect: redirect === undefined ? undefined : checkedRedirect(redirect),
  };
}

/** Whether the folder of this name hides what lies below it by a file inside. An empty name: `parent` itself. */
export function hasOpaqueMarker(layers: Layers, parent: Part, name: string): boolean {
  // By a path of two names, because opening the folder would be one more call.
  return layers.stat(parent, name === '' ? OPAQUE_MARKER : `${name}/${OPAQUE_MARKER}`);
}

const NOTHING: Marks = { opaque: false, xwhiteouts: false, metacopy: false, redirect: undefined };

function hasAttribute(names: readonly string[], attribute: string): boolean {
  return CLASSES.some((each) => names.includes(each + attribute));
}

function checkedRedirect(value: string): Redirect {
  try {
    return parseRedirect(value);
  } catch (error) {
    if (error instanceof LayerfsError) throw new ErrnoError(errno.EIO, 'overlay.redirect');
    throw error;
  }
}
