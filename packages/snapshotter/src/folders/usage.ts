import { statx } from '@layerfs/linux';
import type { Usage } from '../snapshotter.js';
import { visitFlags, walk } from './walk.js';

/**
 * Disk usage of a folder and all in it, as containerd counts it: blocks and inodes, a file of several names once. What
 * goes away meanwhile is not counted.
 */
export async function diskUsage(folder: string): Promise<Usage> {
  const seen = new Set<string>();
  let [inodes, bytes] = [0, 0];
  await walk(folder, (dir, name) => {
    const { ino, nlink, blocks, devMajor, devMinor, mode } = statx(dir, name, visitFlags(name));
    if (nlink > 1 && (mode & 0o170000) !== 0o040000) {
      const key = `${devMajor}:${devMinor}:${ino}`;
      if (seen.has(key)) return;
      seen.add(key);
    }
    inodes++;
    bytes += blocks * 512;
  });
  return { inodes, bytes };
}
