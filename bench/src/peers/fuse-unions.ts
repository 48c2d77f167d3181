/** Unions by other people's FUSE servers. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { run, runs } from '../harness/programs.js';
import { lowerdir, upperdir } from './kernel.js';
import type { Peer, Stack } from './peer.js';

const servers = new Map<string, number | undefined>();

/** Starts a server that stays in the foreground, and waits until it has mounted. */
function serve(program: string, args: readonly string[], cwd: string, mountpoint: string): number | undefined {
  const child = spawn(program, [...args, mountpoint], { cwd, stdio: 'ignore' });
  child.on('error', () => undefined);
  for (let i = 0; ; i++) {
    if (readFileSync('/proc/self/mounts', 'utf8').includes(` ${mountpoint} fuse`)) break;
    if (i === 500) {
      child.kill('SIGKILL');
      throw new Error(`${program} did not mount`);
    }
    run('sleep', '0.01');
  }
  servers.set(mountpoint, child.pid);
  return child.pid;
}

function peer(program: string, args: (stack: Stack, scratch?: string) => string[]): Peer {
  return {
    name: program,
    kind: 'peer',
    mount: (stack, mountpoint) => serve(program, args(stack), lowerdir(stack).cwd, mountpoint),
    mountWritable: (stack, mountpoint, scratch) =>
      serve(program, args(stack, scratch), lowerdir(stack).cwd, mountpoint),
    unmount(_, mountpoint) {
      run('umount', mountpoint);
      const pid = servers.get(mountpoint);
      // Its own clean-up must not fall into the next round.
      while (pid !== undefined && runs(pid)) run('sleep', '0.01');
      servers.delete(mountpoint);
    },
  };
}

/** fuse-overlayfs on unpacked lowers. */
export const fuseOverlayfs = peer('fuse-overlayfs', (stack, scratch) => [
  '-f',
  '-o',
  lowerdir(stack).option + (scratch === undefined ? '' : `,${upperdir(scratch)}`),
]);

/** unionfs-fuse on unpacked lowers. It shows overlayfs's whiteouts as devices: names that are gone elsewhere are there. */
export const unionfsFuse = peer('unionfs-fuse', ({ lowers }, scratch) => {
  const branches = lowers.map((lower) => `${lower}=RO`);
  if (scratch !== undefined) branches.unshift(`${scratch}=RW`);
  return ['-f', '-o', 'cow,allow_other,use_ino,suid,dev', branches.join(':')];
});
