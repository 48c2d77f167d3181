/**
 * What reading an upper folder needs of the disk, and what a file found there means. Reading is synchronous: whoever
 * implements it does the IO, and nothing here does.
 */
import { latin1, printable } from '../bytes.js';
import { LayerfsError } from '../error.js';
import { MAX_PATH, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG, S_IFSOCK } from '../tree/format.js';
import type { Xattr } from '../tree/xattr.js';
import type { Attributes } from './attributes.js';
import {
  METACOPY,
  OPAQUE,
  OPAQUE_MARKER,
  REDIRECT,
  WHITEOUT,
  WHITEOUT_PREFIX,
  isOverlayXattr,
  parseRedirect,
} from './format.js';

/** One name in an upper folder, as it lies on disk: `xattrs` are all, the union's own too. */
export interface UpperFile extends Attributes {
  /** Bytes as latin1. */
  readonly name: string;
  readonly nlink: number;
  /** The same for all names of one file, and only for those. */
  readonly key: string;
}

/** A folder of the upper, open for reading until it is closed. Its methods throw what the disk makes them. */
export interface UpperFolder {
  /** The folder's own attributes; its name is empty. */
  readonly self: UpperFile;
  /** What lies in it, sorted by name bytes. */
  entries(): UpperFile[];
  /** A folder in it. The caller closes it. */
  openFolder(name: string): UpperFolder;
  /** Opens a regular file in it for reading; the caller closes the descriptor. */
  openFile(name: string): number;
  /** sha256 of a regular file in it, 64 hex digits. */
  sha256(name: string): string;
  close(): void;
}

/** The content of an upper folder without its spelling. */
export interface UpperContent {
  /** What can be seen, sorted by name. Sockets are not: no layer can hold them. */
  readonly entries: readonly UpperFile[];
  /** Names that hide those of the lower. */
  readonly whiteouts: ReadonlySet<string>;
  /** Everything in the lower is hidden. */
  readonly opaque: boolean;
  /** Names of sockets. */
  readonly sockets: readonly string[];
}

const CLASSES = ['trusted.', 'user.'] as const;
/** fuse-overlayfs's own name for it, from before it took the kernel's. */
const FUSE_OPAQUE = 'user.fuseoverlayfs.opaque';
/** A label that the host's policy puts on every file: it says nothing about the image. */
const HOST_LABEL = 'security.selinux';

/** Reads a folder. @throws LayerfsError corrupt naming the path of what no union writes */
export function readUpper(folder: UpperFolder, path: string): UpperContent {
  // No layer could hold it; and however deep an upper is, this is the end.
  if (path.length > MAX_PATH) throw corruptUpper(path, `a path of more than ${MAX_PATH} bytes`);
  const entries: UpperFile[] = [];
  const whiteouts = new Set<string>();
  const sockets: string[] = [];
  let opaque = isOpaque(folder.self);
  for (const file of folder.entries()) {
    const { name, mode } = file;
    if (name.startsWith(WHITEOUT_PREFIX)) {
      if ((mode & S_IFMT) === S_IFDIR) {
        throw corruptUpper(joinPath(path, name), 'a folder cannot be a whiteout, and no layer can hold its name');
      }
      if (name === OPAQUE_MARKER) opaque = true;
      else {
        const hidden = name.slice(WHITEOUT_PREFIX.length);
        if (hidden === '' || hidden === '.' || hidden === '..' || hidden.startsWith(WHITEOUT_PREFIX)) {
          throw corruptUpper(joinPath(path, name), 'a whiteout of no possible name');
        }
        whiteouts.add(hidden);
      }
    } else if (isWhiteout(file)) whiteouts.add(name);
    else if ((mode & S_IFMT) === S_IFSOCK) {
      sockets.push(name);
      // It hides what the lower has, as any file would.
      whiteouts.add(name);
    } else entries.push(file);
  }
  return { entries, whiteouts, opaque, sockets };
}

/** Where a file continues in the lower: by a path from its root, or by another name in the same folder. */
export function redirectOf(file: UpperFile, path: string): ReturnType<typeof parseRedirect> | undefined {
  const value = overlayXattr(file, REDIRECT);
  if (value === undefined) return undefined;
  try {
    return parseRedirect(latin1(value));
  } catch (error) {
    if (!(error instanceof LayerfsError)) throw error;
    throw corruptUpper(path, error.message, error);
  }
}

/** Whether a regular file's content is that of a lower file. */
export function isMetacopy(file: UpperFile): boolean {
  return (file.mode & S_IFMT) === S_IFREG && overlayXattr(file, METACOPY) !== undefined;
}

/** What the union shows of a file's attributes. @throws LayerfsError unimplemented for links kept in an index */
export function shownAttributes(file: UpperFile, path: string): Attributes {
  const { mode, uid, gid, size, mtimeSec, mtimeNsec, rdev, target } = file;
  // With index=on the other names of the file show this content too, and which those are only the kernel can tell.
  if (overlayXattr(file, 'overlay.nlink') !== undefined && (mode & S_IFMT) !== S_IFDIR) {
    throw new LayerfsError(
      'unimplemented',
      `${shownPath(path)}: a hardlink that was changed under an overlayfs with index=on: mount it with index=off`,
    );
  }
  return { mode, uid, gid, size, mtimeSec, mtimeNsec, rdev, target, xattrs: shownXattrs(file.xattrs) };
}

/** Extended attributes without the union's own and the host's, sorted by name. */
export function shownXattrs(xattrs: readonly Xattr[]): Xattr[] {
  return xattrs
    .filter(([name]) => !isOverlayXattr(name) && name !== HOST_LABEL)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

/** @returns an error that names the path in the upper */
export function corruptUpper(path: string, what: string, cause?: unknown): LayerfsError {
  const message = `upper folder: ${shownPath(path)}: ${what}`;
  return new LayerfsError('corrupt', message, cause === undefined ? undefined : { cause });
}

/** The path of a name in a folder; the root's path is empty. */
export function joinPath(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}

function shownPath(path: string): string {
  return `/${printable(path.length > 300 ? `${path.slice(0, 300)}…` : path)}`;
}

/** A kernel whiteout, or a file marked as one where devices cannot be made. */
function isWhiteout(file: UpperFile): boolean {
  const type = file.mode & S_IFMT;
  if (type === S_IFCHR) return file.rdev === 0;
  return type === S_IFREG && file.size === 0 && overlayXattr(file, WHITEOUT) !== undefined;
}

function isOpaque(file: UpperFile): boolean {
  const value = overlayXattr(file, OPAQUE) ?? file.xattrs.find(([name]) => name === FUSE_OPAQUE)?.[1];
  // `x` only says that there are whiteouts spelled as files.
  return value !== undefined && latin1(value) === 'y';
}

function overlayXattr(file: UpperFile, attribute: string): Uint8Array | undefined {
  for (const prefix of CLASSES) {
    const found = file.xattrs.find(([name]) => name === prefix + attribute);
    if (found !== undefined) return found[1];
  }
  return undefined;
}
