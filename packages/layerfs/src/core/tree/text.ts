/**
 * A tree as text, one line an entry, for people and for tests. Bytes outside printable ASCII, spaces and backslashes
 * are written as `\xHH`, so that a line splits at its spaces and every name can be read back.
 *
 * A line: path, type, then what is not at its default, in this order:
 * `0644` permissions, `uid:gid`, `@seconds[.nanoseconds]` mtime, `size=`, `sha256=`, `-> target`, `rdev=`, `#n` (hardlink
 * group, numbered by first appearance), `layer=`, `xattr:name=hex`, `opaque`, `implied`.
 */
import { hex } from '../bytes.js';
import { ROOT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from './format.js';
import type { Tree } from './tree.js';

/** Words for file types. */
export const TYPE_WORDS: ReadonlyMap<number, string> = new Map([
  [S_IFDIR, 'dir'],
  [S_IFREG, 'file'],
  [S_IFLNK, 'symlink'],
  [S_IFCHR, 'char'],
  [S_IFBLK, 'block'],
  [S_IFIFO, 'fifo'],
  [S_IFSOCK, 'socket'],
]);

/** A byte string as one word of ASCII. */
export function escapeBytes(text: string): string {
  return text.replace(
    // eslint-disable-next-line no-control-regex
    /[^\x21-\x5b\x5d-\x7e]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** The lines of {@link dumpTree}, one after the other: a big tree's text need not be in memory as a whole. */
export function* dumpLines(tree: Tree): Generator<string, void> {
  const groups = new Map<number, number>();
  yield line(tree, '/', ROOT, groups);
  for (const { path, dirent, ino } of tree.walk()) {
    const name = escapeBytes(path);
    if (tree.isWhiteout(dirent)) yield `${name} whiteout`;
    else if (tree.isLowerLink(dirent)) yield `${name} lowerlink -> ${escapeBytes(tree.lowerLinkTarget(dirent))}`;
    else yield line(tree, name, ino, groups);
  }
}

/** The whole tree as text; each line ends with a newline. */
export function dumpTree(tree: Tree): string {
  let text = '';
  for (const each of dumpLines(tree)) text += `${each}\n`;
  return text;
}

function line(tree: Tree, name: string, ino: number, groups: Map<number, number>): string {
  const mode = tree.mode(ino);
  const type = mode & S_IFMT;
  const words = [name, TYPE_WORDS.get(type) ?? 'unknown', (mode & 0o7777).toString(8).padStart(4, '0')];
  words.push(`${tree.uid(ino)}:${tree.gid(ino)}`);
  const nsec = tree.mtimeNsec(ino);
  words.push(`@${tree.mtimeSec(ino)}${nsec === 0 ? '' : `.${String(nsec).padStart(9, '0')}`}`);
  if (type === S_IFREG) words.push(`size=${tree.size(ino)}`);
  const digest = tree.objectDigest(ino);
  if (digest !== undefined) words.push(`sha256=${digest}`);
  if (type === S_IFLNK) words.push('->', escapeBytes(tree.symlinkTarget(ino)));
  if (type === S_IFCHR || type === S_IFBLK) words.push(`rdev=${tree.rdev(ino)}`);
  if (type !== S_IFDIR && tree.nlink(ino) > 1) {
    const group = groups.get(ino) ?? groups.size + 1;
    groups.set(ino, group);
    words.push(`#${group}`);
  }
  if (tree.layer(ino) !== 0) words.push(`layer=${tree.layer(ino)}`);
  for (const [key, value] of tree.xattrs(ino)) words.push(`xattr:${escapeBytes(key)}=${hex(value)}`);
  if (tree.isOpaque(ino)) words.push('opaque');
  if (tree.isImplied(ino)) words.push('implied');
  return words.join(' ');
}
