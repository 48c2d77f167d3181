/** What lies in a store, for "nothing left behind": every path but the metadata database's own files. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Paths below `root`, sorted; of `meta/` only the folder, since a database file may grow by what it then forgets. */
export function storeListing(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => !path.startsWith('meta/'))
    .toSorted();
}

/** Mountpoints at or below `folder`, from the kernel. */
export function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path === folder || path.startsWith(join(folder, '/')));
}
