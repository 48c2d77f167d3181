/**
 * Builds a tree from the text form that `dumpTree` writes (text.ts), so that trees can be written by hand, in tests
 * above all. What is left out has a default: 0755 for folders, 0777 for symbolic links, 0644 for the rest, owner 0:0,
 * time 0. Folders that are missing are implied. A `sha256=` may be cut short; zeros fill it up. A line may be indented;
 * empty lines and lines that start with `#` do not count.
 */
import { hexBytes } from '../bytes.js';
import { LayerfsError } from '../error.js';
import { TreeBuilder } from './builder.js';
import { ROOT, S_IFDIR, S_IFLNK, S_IFREG } from './format.js';
import type { Xxh64 } from './hash.js';
import { TYPE_WORDS } from './text.js';
import type { Xattr } from './xattr.js';

const TYPES = new Map([...TYPE_WORDS].map(([type, word]) => [word, type]));

/**
 * The tree file that a text describes.
 * @throws LayerfsError invalid-argument, naming the line.
 */
export function parseTree(text: string, options: { layers: readonly Uint8Array[]; hash: Xxh64 }): Uint8Array {
  const builder = new TreeBuilder();
  /** Hardlink group -> inode. */
  const groups = new Map<string, number>();
  for (const [index, line] of text.split('\n').entries()) {
    const words = line.trim().split(' ');
    if (words[0] === '' || words[0].startsWith('#')) continue;
    try {
      parseLine(builder, words, groups);
    } catch (error) {
      if (!(error instanceof LayerfsError)) throw error;
      throw new LayerfsError(error.code, `line ${index + 1}: ${error.message}`, { cause: error });
    }
  }
  return builder.finish(options);
}

function parseLine(builder: TreeBuilder, [path, word, ...fields]: string[], groups: Map<string, number>): void {
  const components = path === '/' ? [] : path.split('/').map(unescape);
  const name = components.pop();
  let parent = ROOT;
  for (const component of components) {
    let next = builder.find(parent, component);
    if (next === 0) {
      next = builder.addInode({ mode: S_IFDIR | 0o755, uid: 0, gid: 0, mtimeSec: 0 });
      builder.setImplied(next, true);
      builder.link(parent, component, next);
    }
    parent = next;
  }
  if (word === 'whiteout' && name !== undefined) return builder.whiteout(parent, name);
  if (word === 'lowerlink' && name !== undefined) return builder.lowerLink(parent, name, unescape(fields[1]));
  const type = TYPES.get(word);
  if (type === undefined) throw new LayerfsError('invalid-argument', `unknown type ${word}`);

  const group = fields.find((field) => /^#\d+$/.test(field));
  const known = group === undefined ? undefined : groups.get(group);
  if (known !== undefined) return builder.link(parent, name!, known);
  let permissions = type === S_IFDIR ? 0o755 : type === S_IFLNK ? 0o777 : 0o644;
  const attributes = { uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, rdev: 0 };
  const xattrs: Xattr[] = [];
  let size = 0;
  let digest: string | undefined;
  for (const field of fields) {
    const [key, value] = field.split(/=(.*)/s);
    if (/^[0-7]{4}$/.test(field)) permissions = Number.parseInt(field, 8);
    else if (/^\d+:\d+$/.test(field)) [attributes.uid, attributes.gid] = field.split(':').map(Number);
    else if (field.startsWith('@'))
      [attributes.mtimeSec, attributes.mtimeNsec = 0] = field.slice(1).split('.').map(Number);
    else if (key === 'size') size = Number(value);
    else if (key === 'rdev') attributes.rdev = Number(value);
    else if (key === 'sha256') digest = value.padEnd(64, '0');
    else if (key.startsWith('xattr:')) xattrs.push([unescape(key.slice(6)), hexBytes(value)]);
  }
  const all = { ...attributes, mode: type | permissions, xattrs };
  const old = name === undefined ? ROOT : builder.find(parent, name);
  let ino = old;
  if (type === S_IFDIR && old !== 0 && builder.isDirectory(old)) builder.setAttributes(old, all);
  else ino = builder.addInode(all);
  if (type === S_IFREG && (size > 0 || digest !== undefined)) {
    builder.setContent(ino, builder.addObject(hexBytes(digest ?? '0'.repeat(64))), Math.max(1, size));
  }
  if (type === S_IFLNK) builder.setSymlink(ino, unescape(fields[fields.indexOf('->') + 1]));
  if (fields.includes('opaque')) builder.setOpaque(ino);
  if (fields.includes('implied')) builder.setImplied(ino, true);
  if (ino !== old) builder.link(parent, name!, ino);
  if (group !== undefined) groups.set(group, ino);
}

function unescape(text: string): string {
  return text.replace(/\\x([0-9a-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}
