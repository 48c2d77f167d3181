import { closeSync, openSync } from 'node:fs';
import { AT, DT, ErrnoError, O, close, errno, openat, readDirents } from '@layerfs/linux';

/** Told of a file: the folder that it is in, its name there, and its type as of readdir(3). */
export type FileVisitor = (folder: number, name: Uint8Array, type: number) => void;

interface Waiting {
  readonly fd: number;
  readonly names: [name: string, type: number][];
}

/**
 * Visits a folder (by an empty name) and all in it, never through a symbolic link. What goes away meanwhile is left out. Works folder by
 * folder, so that others get their turn.
 */
export async function walk(folder: string, visit: FileVisitor): Promise<void> {
  const read = (fd: number): Waiting => {
    const names: [string, number][] = [];
    readDirents(fd, (name, type) => names.push([name, type]));
    return { fd, names };
  };
  const stack: Waiting[] = [];
  try {
    const top = openSync(folder, O.RDONLY | O.DIRECTORY);
    try {
      visit(top, NO_NAME, DT.DIR);
      stack.push(read(top));
    } catch (error) {
      closeSync(top);
      throw error;
    }
    for (let at = stack.at(-1); at !== undefined; at = stack.at(-1)) {
      const next = at.names.pop();
      if (next === undefined) {
        stack.pop();
        close(at.fd);
        await new Promise(setImmediate);
        continue;
      }
      const name = Buffer.from(next[0], 'latin1');
      ignoringGone(() => visit(at.fd, name, next[1]));
      if (next[1] !== DT.DIR) continue;
      ignoringGone(() => {
        const fd = openat(at.fd, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
        try {
          stack.push(read(fd));
        } catch (error) {
          close(fd);
          throw error;
        }
      });
    }
  } finally {
    for (const { fd } of stack) close(fd);
  }
}

const NO_NAME = new Uint8Array(0);

/** How the calls of a visitor look at the file. */
export function visitFlags(name: Uint8Array): number {
  return name.length === 0 ? AT.EMPTY_PATH : AT.SYMLINK_NOFOLLOW;
}

function ignoringGone(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof ErrnoError) || error.errno !== errno.ENOENT) throw error;
  }
}
