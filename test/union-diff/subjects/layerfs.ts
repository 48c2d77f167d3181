/** The writable union mount of layerfs, through its command as users have it. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { umount2 } from '@layerfs/linux';
import { hasEnded, waitFor } from './fuse-overlayfs.js';
import { PLAIN } from './kernel.js';
import type { Place, Subject } from './subject.js';

/** This file runs from `test/dist`, too, which is one folder further down. */
function findCommand(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== '/'; folder = dirname(folder)) {
    const candidate = join(folder, 'packages/cli/bin/layerfs.js');
    if (existsSync(candidate)) return candidate;
  }
  throw new Error('the layerfs command is not where it should be');
}

const CLI = findCommand();

export const IMAGE = 'union-diff';
/** So that a server which hangs is noticed as such. */
const LIMIT = 60_000;

export function runLayerfs(store: string, ...args: string[]): string {
  return execFileSync(process.execPath, [CLI, '--root', store, ...args], { encoding: 'utf8', timeout: LIMIT });
}

/** Whether the command has writable mounts at all. */
export function layerfsCanWrite(): boolean {
  return execFileSync(process.execPath, [CLI, 'mount', '--help'], { encoding: 'utf8' }).includes('--rw');
}

function storeOf(place: Place): string {
  if (place.lowers.store === undefined) throw new Error('no store was prepared');
  return place.lowers.store;
}

const servers = new Map<string, number>();

export const layerfs: Subject = {
  name: 'layerfs',
  promises: { stableIno: true, folderNlink: true, oneDevice: true },
  kernelOptions: PLAIN,
  mount(place: Place) {
    const args = ['mount', IMAGE, place.mountpoint, '--rw', '--name', place.name, '--json'];
    const more = (process.env['LAYERFS_DIFF_MOUNT'] ?? '').split(' ').filter((word) => word !== '');
    const info = JSON.parse(runLayerfs(storeOf(place), ...args, ...more)) as { pid: number };
    servers.set(place.mountpoint, info.pid);
  },
  unmount(place: Place) {
    // The command would do the same in a quarter of a second.
    umount2(place.mountpoint);
    const pid = servers.get(place.mountpoint);
    if (pid !== undefined) waitFor('the server to end', () => hasEnded(pid));
  },
  upper(place: Place) {
    const store = storeOf(place);
    const snapshots = JSON.parse(runLayerfs(store, 'snapshots', '--json')) as { name: string; upper: string }[];
    const found = snapshots.find(({ name }) => name === place.name);
    if (found !== undefined) return found.upper;
    throw new Error(`no upper of ${place.name} in ${store}`);
  },
};
