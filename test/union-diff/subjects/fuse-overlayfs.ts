/** fuse-overlayfs: a union by somebody else, to see what the tester finds. */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { umount2 } from '@layerfs/linux';
import { PLAIN } from './kernel.js';
import type { Place, Subject } from './subject.js';

/** Everything here is synchronous, as operations are. */
export function waitFor(what: string, condition: () => boolean): void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let i = 0; i < 2000; i++) {
    if (condition()) return;
    Atomics.wait(cell, 0, 0, 5);
  }
  throw new Error(`waited 10 seconds for ${what}`);
}

export function isMounted(mountpoint: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8').includes(` ${mountpoint} `);
}

/** Also when nobody has asked for its exit status yet. */
export function hasEnded(pid: number): boolean {
  try {
    return /^State:\tZ/m.test(readFileSync(`/proc/${String(pid)}/status`, 'utf8'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')) return true;
    throw error;
  }
}

const servers = new Map<string, number>();

export const fuseOverlayfs: Subject = {
  name: 'fuse-overlayfs',
  promises: { stableIno: false, folderNlink: false, oneDevice: false },
  kernelOptions: PLAIN,
  mount(place: Place) {
    const [upper, work] = [this.upper(place), join(place.folder, 'work')];
    for (const folder of [upper, work]) mkdirSync(folder, { recursive: true });
    const options = `lowerdir=${place.lowers.folders.join(':')},upperdir=${upper},workdir=${work},nodev,nosuid,allow_other`;
    const child = spawn('fuse-overlayfs', ['-f', '-o', options, place.mountpoint], { stdio: 'ignore' });
    child.unref();
    waitFor('fuse-overlayfs to mount', () => isMounted(place.mountpoint));
    servers.set(place.mountpoint, child.pid ?? 0);
  },
  unmount(place: Place) {
    umount2(place.mountpoint);
    waitFor('fuse-overlayfs to end', () => hasEnded(servers.get(place.mountpoint) ?? 0));
  },
  upper: (place: Place) => join(place.folder, 'upper'),
};
