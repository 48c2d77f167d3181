/** Our own ways to mount. */
import { join } from 'node:path';
import { LAYERFS, run } from '../harness/programs.js';
import type { Peer } from './peer.js';

/** What the command says of a mount. */
interface Mounted {
  readonly mountpoint: string;
  readonly pid: number;
  readonly kernel?: unknown;
}

function ours(name: string, options: readonly string[] | (() => readonly string[])): Peer {
  const wordsFor = (root: string, image: string): string[] => {
    const more = typeof options === 'function' ? options() : options;
    return ['--root', root, 'mount', '--json', ...more, image];
  };
  const mount = (root: string, image: string, mountpoint: string, ...more: string[]): number | undefined => {
    const info = JSON.parse(run(LAYERFS, ...wordsFor(root, image), mountpoint, ...more)) as Mounted;
    return info.kernel === undefined ? info.pid : undefined;
  };
  return {
    name,
    kind: 'ours',
    mount: ({ store, image }, mountpoint) => mount(store, image, mountpoint),
    mountMany({ store, image }, mountpoints) {
      const script = `printf '%s\\n' "$0" | xargs -P 2 -I '{}' "$@" '{}' > /dev/null`;
      run('sh', '-c', script, mountpoints.join('\n'), LAYERFS, ...wordsFor(store, image));
      const all = JSON.parse(run(LAYERFS, '--root', store, 'mounts', '--json')) as Mounted[];
      return all.flatMap(({ mountpoint, pid, kernel }) =>
        kernel === undefined && mountpoints.includes(mountpoint) ? [pid] : [],
      );
    },
    mountWritable: ({ store, image }, mountpoint) => mount(store, image, mountpoint, '--rw'),
    unmount: ({ store }, mountpoint) => void run(LAYERFS, '--root', store, 'unmount', mountpoint),
  };
}

let profiles: string | undefined;
let sequence = 0;

/** From now on each mount by FUSE leaves its server's profile in a folder. */
export function profileInto(folder: string): void {
  profiles = folder;
}

/** By FUSE, our own protocol loop. */
export const layerfs = ours('layerfs FUSE', () => {
  if (profiles === undefined) return [];
  return ['--profile', join(profiles, `mount-${String(sequence++).padStart(4, '0')}.json`)];
});

/** The same, with options of `layerfs mount`. */
export function layerfsWith(...options: string[]): Peer {
  return ours(`layerfs FUSE ${options.join(' ')}`, options);
}

/** The same, with its server's profile in a file. */
export function layerfsProfiled(file: string): Peer {
  return ours('layerfs FUSE', ['--profile', file]);
}

/** By the kernel alone: EROFS and overlayfs. Root only. */
export const layerfsKernel = ours('layerfs kernel', ['--mount-mode', 'kernel']);

/** By FUSE through libfuse; undefined where this layerfs has no such transport. */
export function fuseNative(): Peer | undefined {
  if (!run(LAYERFS, 'mount', '--help').includes('--transport')) return undefined;
  return { ...ours('layerfs fuse-native', ['--transport', 'fuse-native']), spare: true };
}
