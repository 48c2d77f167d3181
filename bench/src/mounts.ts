import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LAYERFS, has, run } from './programs.js';

/** A way to bring up the same merged root. */
export interface Peer {
  readonly name: string;
  /** Mounts; returns the serving process, where there is one. */
  mount(mountpoint: string): Promise<number | undefined>;
  unmount(mountpoint: string): Promise<void>;
}

/** layerfs, from a store that has the image. */
export function layerfsPeer(root: string, image: string, options: readonly string[] = []): Peer {
  return {
    name: options.length === 0 ? 'layerfs' : `layerfs ${options.join(' ')}`,
    async mount(mountpoint) {
      const info = JSON.parse(run(LAYERFS, '--root', root, 'mount', image, mountpoint, '--json', ...options)) as {
        pid: number;
        kernel?: unknown;
      };
      return Promise.resolve(info.kernel === undefined ? info.pid : undefined);
    },
    async unmount(mountpoint) {
      run(LAYERFS, '--root', root, 'unmount', mountpoint);
      return Promise.resolve();
    },
  };
}

/** Kernel overlayfs on two or more unpacked lowers. */
export function overlayPeer(lowers: readonly string[]): Peer {
  return {
    name: 'kernel overlayfs',
    async mount(mountpoint) {
      run('mount', '-t', 'overlay', 'overlay', '-o', `lowerdir=${lowers.join(':')}`, mountpoint);
      return Promise.resolve(undefined);
    },
    async unmount(mountpoint) {
      run('umount', mountpoint);
      return Promise.resolve();
    },
  };
}

/** fuse-overlayfs on unpacked lowers; undefined when it is not installed. */
export function fuseOverlayPeer(lowers: readonly string[]): Peer | undefined {
  if (!has('fuse-overlayfs')) return undefined;
  const servers = new Map<string, ChildProcess>();
  return {
    name: 'fuse-overlayfs',
    async mount(mountpoint) {
      const child = spawn('fuse-overlayfs', ['-f', '-o', `lowerdir=${lowers.join(':')}`, mountpoint], {
        stdio: 'ignore',
      });
      servers.set(mountpoint, child);
      for (let i = 0; i < 500; i++) {
        if (readFileSync('/proc/self/mounts', 'utf8').includes(` ${mountpoint} fuse.fuse-overlayfs`)) return child.pid;
        await sleep(10);
      }
      throw new Error('fuse-overlayfs did not mount');
    },
    async unmount(mountpoint) {
      const child = servers.get(mountpoint);
      run('umount', mountpoint);
      if (child !== undefined && child.exitCode === null) await once(child, 'exit');
    },
  };
}
