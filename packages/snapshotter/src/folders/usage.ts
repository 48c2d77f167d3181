import { closeSync, openSync } from 'node:fs';
import { AT, DT, ErrnoError, O, close, errno, openat, readDirents, statx } from '@layerfs/linux';
import type { Usage } from '../snapshotter.js';

interface Waiting {
  readonly fd: number;
  readonly names: [name: string, isFolder: boolean][];
}

/**
 * Disk usage of a folder and all in it, as containerd counts it: blocks and inodes, a file of several names once. What
 * goes away meanwhile is not counted. Works folder by folder, so that others get their turn.
 */
export async function diskUsage(folder: string): Promise<Usage> {
  const seen = new Set<string>();
  let [inodes, bytes] = [0, 0];
  const count = (dir: number, name: string | Uint8Array, flags: number): void => {
    const { ino, nlink, blocks, devMajor, devMinor, mode } = statx(dir, name, flags);
    if (nlink > 1 && (mode & 0o170000) !== 0o040000) {
      const key = `${devMajor}:${devMinor}:${ino}`;
      if (seen.has(key)) return;
      seen.add(key);
    }
    inodes++;
    bytes += blocks * 512;
  };
  const read = (fd: number): Waiting => {
    const names: [string, boolean][] = [];
    readDirents(fd, (name, type) => names.push([name, type === DT.DIR]));
    return { fd, names };
  };
  const stack: Waiting[] = [];
  try {
    const top = openSync(folder, O.RDONLY | O.DIRECTORY);
    try {
      count(top, '', AT.EMPTY_PATH);
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
      ignoringGone(() => count(at.fd, name, AT.SYMLINK_NOFOLLOW));
      if (!next[1]) continue;
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
    return { inodes, bytes };
  } finally {
    for (const { fd } of stack) close(fd);
  }
}

function ignoringGone(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof ErrnoError) || error.errno !== errno.ENOENT) throw error;
  }
}
