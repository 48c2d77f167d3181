import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { has, run } from './programs.js';
import { onRelease } from './release.js';

/** Where benchmarks write. */
export interface Area {
  readonly folder: string;
  /** A new empty folder in it. */
  make(name: string): string;
  /** Unmounts all that is still mounted in it, and removes it. */
  release(): void;
}

/**
 * A fresh ext4 filesystem on a loop device where we may have one: on a used one the cost of making files depends on what
 * was deleted in the last minutes. Otherwise a temporary folder.
 * @param gigabytes its size; blocks that nothing was written to take no room
 */
export function openArea(gigabytes: number): Area {
  const base = mkdtempSync(join(tmpdir(), 'layerfs-bench-'));
  const folder = join(base, 'area');
  mkdirSync(folder);
  const image = join(base, 'ext4.img');
  const own = process.geteuid?.() === 0 && has('mkfs.ext4');
  let [device, mounted] = ['', false];
  const release = onRelease(() => {
    for (const mountpoint of mountsBelow(folder)) run('umount', '--lazy', mountpoint);
    // Servers that were unmounted just now may still be on their way out.
    if (mounted) run('umount', '--lazy', folder);
    if (device !== '') run('losetup', '--detach', device);
    rmSync(base, { recursive: true, force: true });
  });
  if (own) {
    run('truncate', '-s', `${gigabytes}G`, image);
    run('mkfs.ext4', '-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image);
    // Direct: without it everything is written twice, first to the page cache of the file below.
    device = run('losetup', '--direct-io=on', '--find', '--show', image).trim();
    run('mount', device, folder);
    mounted = true;
  }
  let sequence = 0;
  return {
    folder,
    make(name) {
      const made = join(folder, `${name}-${sequence++}`);
      mkdirSync(made);
      return made;
    },
    release,
  };
}

/** What an interrupted benchmark left mounted in a folder, the last mounted first. */
function mountsBelow(folder: string): string[] {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').trimEnd().split('\n');
  return mounts
    .map((line) => line.split(' ')[1].replaceAll(/\\(\d{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8))))
    .filter((mountpoint) => mountpoint.startsWith(`${folder}/`))
    .toReversed();
}
