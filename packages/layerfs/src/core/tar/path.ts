/** Paths in layer tars: relative, inside the root, within the limits of Linux. */
import { printable } from '../bytes.js';
import { LayerfsError } from '../error.js';

const MAX_PATH = 4096;
const MAX_NAME = 255;

/**
 * The names on the way to an entry; none for the root. `./` in front, double and trailing slashes are normal.
 * @param what how the path is called in messages: `entry` or `hardlink target of ENTRY`
 * @throws LayerfsError invalid-argument for an absolute path, one with `..`, or one that is too long
 */
export function splitPath(path: string, what: string): string[] {
  if (path.length > MAX_PATH) {
    throw new LayerfsError('invalid-argument', `${what} ${start(path)}…: path of ${path.length} bytes is too long`);
  }
  if (path.startsWith('/')) {
    throw new LayerfsError('invalid-argument', `${what} ${printable(path)}: absolute path refused`);
  }
  const names: string[] = [];
  for (const name of path.split('/')) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      throw new LayerfsError('invalid-argument', `${what} ${printable(path)}: path with '..' refused`);
    }
    if (name.length > MAX_NAME) {
      throw new LayerfsError('invalid-argument', `${what} ${start(path)}…: a name of ${name.length} bytes is too long`);
    }
    if (name.includes('\0')) {
      throw new LayerfsError('invalid-argument', `${what} ${printable(path)}: a NUL byte in a name`);
    }
    names.push(name);
  }
  return names;
}

function start(path: string): string {
  return printable(path.slice(0, 80));
}
