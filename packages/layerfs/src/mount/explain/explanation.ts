import { printable, utf8ToLatin1 } from '../../core/bytes.js';
import { LayerfsError } from '../../core/error.js';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../../core/tree/format.js';
import type { Tree } from '../../core/tree/tree.js';
import { objectName } from '../filesystem/objects.js';
import { resolveLinks, versionsOf, type Hiding, type Version } from './versions.js';

/** A layer's place in its image. */
export interface LayerPlace {
  /** 1 = base. */
  readonly index: number;
  /** How many layers the image has. */
  readonly of: number;
  readonly diffID: string;
  /** The history's words for the step that made it. */
  readonly createdBy?: string;
}

/** What one layer says of a path. */
export interface LayerEntry {
  readonly layer: LayerPlace;
  readonly type: FileType;
  /** `st_mode` with its type bits. */
  readonly mode: number;
  /** As `ls -l` prints it: `-rwxr-xr-x`. */
  readonly modeText: string;
  readonly uid: number;
  readonly gid: number;
  /** Bytes. */
  readonly size: number;
  /** ISO 8601. */
  readonly mtime: string;
  /** Target of a symbolic link, for people. */
  readonly target?: string;
  /** `major:minor` of a device. */
  readonly device?: string;
  /** Content of a regular file that is not empty. */
  readonly content?: { readonly digest: string; readonly file: string };
}

/** A lower layer's version that is hidden. */
export interface HiddenEntry extends LayerEntry {
  readonly how: Hiding;
}

/** Where a path of an image comes from. */
export interface Explanation {
  /** Absolute in the image, symbolic links on the way followed, for people. */
  readonly path: string;
  /** What the image shows; absent when a layer removed the path. */
  readonly shown?: LayerEntry & {
    readonly ino: number;
    /** Names of this inode (of a folder: 2 and its sub-folders). */
    readonly links: number;
    /** Values as text when they are printable, otherwise `0x` and hex. */
    readonly xattrs: Readonly<Record<string, string>>;
  };
  /** The layer that removed the path, when nothing is shown. */
  readonly removed?: { readonly layer: LayerPlace; readonly how: 'whiteout' | 'opaque' | 'replaced' };
  /** Versions of lower layers that do not show, topmost first. */
  readonly hides: readonly HiddenEntry[];
}

/** Types of entries. */
export type FileType = 'file' | 'folder' | 'symlink' | 'char' | 'block' | 'fifo' | 'unknown';

/** A stack of layers, opened. */
export interface Stack {
  readonly merged: Tree;
  /** Base first. */
  readonly layers: readonly { readonly tree: Tree; readonly diffID: string; readonly createdBy?: string }[];
  /** Path of the store's objects folder. */
  readonly objects: string;
}

/**
 * Says which layer a path comes from, and which versions it hides.
 * @param path as typed (UTF-8), absolute in the image or relative to its root
 * @throws LayerfsError not-found when no layer ever had it
 */
export function explainPath(stack: Stack, path: string): Explanation {
  const bytes = resolveLinks(stack.merged, utf8ToLatin1(path));
  const { versions, removal } = versionsOf(
    stack.layers.map((layer) => layer.tree),
    bytes,
  );
  const ino = stack.merged.resolve(bytes);
  const shown = versions.find((version) => version.hidden === undefined);
  if (versions.length === 0 || (ino === 0 && removal === undefined)) {
    throw new LayerfsError('not-found', `No layer of this image has ${printable(`/${bytes}`)}`);
  }
  return {
    path: printable(`/${bytes}`),
    ...(ino === 0 || shown === undefined ? {} : { shown: shownEntry(stack, ino, shown) }),
    ...(ino !== 0 || removal === undefined
      ? {}
      : { removed: { layer: placeOf(stack, removal.layer), how: removal.how } }),
    hides: versions.filter((version) => version !== shown).map((version) => hiddenEntry(stack, version)),
  };
}

function shownEntry(stack: Stack, ino: number, version: Version): NonNullable<Explanation['shown']> {
  const { merged } = stack;
  const xattrs: Record<string, string> = {};
  for (const [name, value] of merged.xattrs(ino)) xattrs[printable(name)] = valueText(value);
  return {
    ...entryOf(stack, merged, ino, version.layer),
    ino,
    links: merged.nlink(ino),
    xattrs,
  };
}

function hiddenEntry(stack: Stack, version: Version): HiddenEntry {
  const how = version.hidden ?? 'replaced';
  const { tree, ino } =
    version.ino === 0 ? followLowerLink(stack, version) : { tree: treeOf(stack, version.layer), ino: version.ino };
  return { ...entryOf(stack, tree, ino, version.layer), how };
}

// The inode that a hard link to a lower path stands for lies in a layer below it.
function followLowerLink(stack: Stack, version: Version): { tree: Tree; ino: number } {
  const below = stack.layers.slice(0, version.layer).map((layer) => layer.tree);
  const target = versionsOf(below, version.lowerLink ?? '').versions.find((lower) => lower.hidden === undefined);
  if (target === undefined)
    throw new LayerfsError('corrupt', `Hard link to a missing file: ${version.lowerLink ?? ''}`);
  return target.ino === 0 ? followLowerLink(stack, target) : { tree: treeOf(stack, target.layer), ino: target.ino };
}

function entryOf(stack: Stack, tree: Tree, ino: number, layer: number): LayerEntry {
  const mode = tree.mode(ino);
  const type = typeOf(mode);
  const digest = tree.objectDigest(ino);
  const mtime = new Date(tree.mtimeSec(ino) * 1000 + Math.floor(tree.mtimeNsec(ino) / 1e6));
  return {
    layer: placeOf(stack, layer),
    type,
    mode,
    modeText: modeText(mode),
    uid: tree.uid(ino),
    gid: tree.gid(ino),
    size: tree.size(ino),
    // Times a Date cannot hold (beyond the year 275760) are shown as seconds.
    mtime: Number.isNaN(mtime.getTime()) ? `@${String(tree.mtimeSec(ino))}` : mtime.toISOString(),
    ...(type === 'symlink' ? { target: printable(tree.symlinkTarget(ino)) } : {}),
    ...(type === 'char' || type === 'block' ? { device: deviceText(tree.rdev(ino)) } : {}),
    ...(digest === undefined
      ? {}
      : { content: { digest: `sha256:${digest}`, file: `${stack.objects}/${objectName(digest)}` } }),
  };
}

function placeOf(stack: Stack, index: number): LayerPlace {
  const layer = stack.layers[index];
  if (layer === undefined) throw new LayerfsError('internal', `no layer ${String(index)}`);
  return {
    index: index + 1,
    of: stack.layers.length,
    diffID: layer.diffID,
    ...(layer.createdBy === undefined ? {} : { createdBy: layer.createdBy }),
  };
}

function treeOf(stack: Stack, layer: number): Tree {
  return stack.layers[layer].tree;
}

const TYPES: ReadonlyMap<number, [type: FileType, letter: string]> = new Map([
  [S_IFREG, ['file', '-']],
  [S_IFDIR, ['folder', 'd']],
  [S_IFLNK, ['symlink', 'l']],
  [S_IFCHR, ['char', 'c']],
  [S_IFBLK, ['block', 'b']],
  [S_IFIFO, ['fifo', 'p']],
]);

function typeOf(mode: number): FileType {
  return TYPES.get(mode & S_IFMT)?.[0] ?? 'unknown';
}

/** Permissions as `ls -l` prints them, setuid, setgid and sticky included. */
export function modeText(mode: number): string {
  const letters = 'rwxrwxrwx'.split('').map((letter, bit) => ((mode & (0o400 >> bit)) === 0 ? '-' : letter));
  const special = [
    [0o4000, 2, 's', 'S'],
    [0o2000, 5, 's', 'S'],
    [0o1000, 8, 't', 'T'],
  ] as const;
  for (const [bit, at, withExecute, without] of special) {
    if ((mode & bit) !== 0) letters[at] = letters[at] === 'x' ? withExecute : without;
  }
  return (TYPES.get(mode & S_IFMT)?.[1] ?? '?') + letters.join('');
}

// Linux's 32-bit encoding: 12 bits major between the low 8 and the high 12 of the minor.
function deviceText(rdev: number): string {
  return `${String((rdev >>> 8) & 0xfff)}:${String((rdev & 0xff) | ((rdev >>> 12) & 0xfff00))}`;
}

function valueText(value: Uint8Array): string {
  const text = [...value].every((byte) => byte >= 0x20 && byte < 0x7f);
  return text ? Buffer.from(value).toString('latin1') : `0x${Buffer.from(value).toString('hex')}`;
}
