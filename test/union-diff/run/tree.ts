/** Everything that can be seen of a tree, as text for each path; and what of it must hold on any one filesystem. */
import { closeSync, readFileSync } from 'node:fs';
import { hasMachineIds } from '@layerfs/linux/initial-namespace';
import { AT, AT_FDCWD, O, getXattr, listXattrs, openat, readlinkat, statx } from '@layerfs/linux';
import { describeBytes, describeDirent, describeStat, typeLetter } from '../operations/describe.js';
import { errorName } from '../operations/side.js';
import { readOpenFolder } from '../operations/native.js';

export interface Entry {
  /** What is compared. */
  readonly text: string;
  readonly type: string;
  readonly ino: number;
  readonly device: string;
  readonly nlink: number;
  readonly folders: number;
}

/** By path relative to the root of the tree, latin1; the root is ''. */
export type Tree = ReadonlyMap<string, Entry>;

/** Capabilities that mean nothing can be listed but not read. */
function xattrText(path: Buffer, name: string): string {
  try {
    const value = getXattr(path, name);
    return value === undefined ? 'vanished' : describeBytes(value);
  } catch (error) {
    return errorName(error);
  }
}

function xattrsText(path: Buffer): string {
  const names = listXattrs(path).toSorted();
  return names.map((name) => ` ${name}=${xattrText(path, name)}`).join('');
}

function contentText(type: string, path: Buffer): string {
  if (type === 'l') return ` -> ${JSON.stringify(Buffer.from(readlinkat(AT_FDCWD, path)).toString('latin1'))}`;
  return type === 'f' ? ` content=${describeBytes(readFileSync(path))}` : '';
}

/** Reads a tree. What cannot be read is in its text, as the name of the error. */
export function readTree(root: string): Tree {
  const tree = new Map<string, Entry>();
  /** First name by inode: names of one file must be the same names everywhere. */
  const firstNames = new Map<number, string>();
  function visit(relative: string, dirent: string): void {
    const path = Buffer.from(relative === '' ? root : `${root}/${relative}`, 'latin1');
    try {
      const stat = statx(AT_FDCWD, path, AT.SYMLINK_NOFOLLOW);
      const type = typeLetter(stat.mode);
      let text = describeStat(stat) + contentText(type, path) + xattrsText(path);
      if (dirent !== '' && dirent !== type) text += ` but readdir says ${dirent}`;
      if (type !== 'd') {
        const first = firstNames.get(stat.ino) ?? relative;
        firstNames.set(stat.ino, first);
        if (first !== relative) text += ` same file as ${JSON.stringify(first)}`;
      }
      const folders = type === 'd' ? visitFolder(path, relative) : 0;
      const device = `${String(stat.devMajor)}:${String(stat.devMinor)}`;
      tree.set(relative, { text, type, ino: stat.ino, device, nlink: stat.nlink, folders });
    } catch (error) {
      const text = `cannot be read: ${errorName(error)}`;
      tree.set(relative, { text, type: '?', ino: 0, device: '', nlink: 0, folders: 0 });
    }
  }
  function visitFolder(path: Buffer, relative: string): number {
    const fd = openat(AT_FDCWD, path, O.DIRECTORY);
    try {
      const entries = readOpenFolder(fd)
        .filter(([, name]) => name !== '.' && name !== '..')
        .toSorted((a, b) => (a[1] < b[1] ? -1 : 1));
      for (const [type, name] of entries) {
        visit(relative === '' ? name : `${relative}/${name}`, describeDirent([type, name]).slice(0, 1));
      }
      return entries.filter(([type]) => type === 4).length;
    } finally {
      closeSync(fd);
    }
  }
  visit('', '');
  return tree;
}

/** Lines on what differs, a few at most. */
export function compareTrees(
  expected: Tree,
  found: Tree,
  isWanted: (expected: string, found: string) => boolean = () => false,
): string[] {
  const differences: string[] = [];
  for (const path of new Set([...expected.keys(), ...found.keys()])) {
    const [a, b] = [expected.get(path)?.text ?? 'does not exist', found.get(path)?.text ?? 'does not exist'];
    if (a !== b && !isWanted(a, b)) differences.push(`${JSON.stringify(path)}\n    expected: ${a}\n    found:    ${b}`);
  }
  return differences.toSorted().slice(0, 6);
}

/** What a filesystem says of itself that this tester may rely on. */
export interface Promises {
  /** st_ino of a file stays the same across copy-up, rename and remount. */
  readonly stableIno: boolean;
  /** A folder's st_nlink is 2 and one for each folder in it. */
  readonly folderNlink: boolean;
  /** st_dev is the same for all files. */
  readonly oneDevice: boolean;
}

export function brokenPromises(tree: Tree, promises: Promises): string[] {
  const broken: string[] = [];
  const root = tree.get('');
  const types = new Map<number, string>();
  for (const [path, entry] of tree) {
    const shown = JSON.stringify(path);
    if (entry.type === '?') continue;
    if (promises.oneDevice && entry.device !== root?.device) broken.push(`${shown}: st_dev is ${entry.device}`);
    if (promises.folderNlink && entry.type === 'd' && entry.nlink !== 2 + entry.folders) {
      broken.push(`${shown}: st_nlink is ${String(entry.nlink)} with ${String(entry.folders)} folders inside`);
    }
    if (!promises.stableIno) continue;
    const other = types.get(entry.ino);
    if (other !== undefined && (entry.type === 'd' || entry.nlink < 2)) {
      broken.push(`${shown}: st_ino ${String(entry.ino)} is also that of ${other}`);
    }
    types.set(entry.ino, shown);
  }
  return broken;
}

/** Inode numbers that changed between two readings of one filesystem. */
export function changedInos(before: Tree, after: Tree): string[] {
  const changed: string[] = [];
  for (const [path, entry] of before) {
    const now = after.get(path);
    // Only files and folders can have user.* attributes, where the number is kept.
    if (!hasMachineIds() && !'fd'.includes(entry.type)) continue;
    if (now === undefined || now.ino === entry.ino || entry.type === '?' || now.type === '?') continue;
    changed.push(`${JSON.stringify(path)}: st_ino was ${String(entry.ino)}, is ${String(now.ino)}`);
  }
  return changed;
}
