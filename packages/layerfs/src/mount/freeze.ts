import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { LayerfsError } from '../core/error.js';
import { listMounts } from './registry/mounts.js';
import { processStart } from './registry/registry.js';

/**
 * Holds back all changes of names and attributes through the mount of a snapshot, as `docker commit` pauses a container:
 * requests wait until it is let go of. What a program writes to a file that it has open already goes on. Let go of by
 * calling the result, and when this process dies. Does nothing for a snapshot that is not mounted.
 * @throws LayerfsError failed-precondition when a program serves the mount itself, or the kernel, which cannot be stopped from outside
 */
export function freezeSnapshot(root: string, snapshot: string): Promise<() => Promise<void>> {
  const mount = listMounts(root).find((each) => each.snapshot === snapshot && each.state === 'ready');
  if (mount === undefined) return Promise.resolve(() => Promise.resolve());
  const { pid, pidStart, mountpoint, kernel } = mount;
  if (kernel !== undefined) {
    throw new LayerfsError(
      'failed-precondition',
      `Snapshot ${snapshot} is mounted on ${mountpoint} by the kernel, which cannot be held meanwhile: unmount it first`,
    );
  }
  if (!isServer(pid)) {
    throw new LayerfsError(
      'failed-precondition',
      `Snapshot ${snapshot} is mounted on ${mountpoint} by a program (process ${pid}): unmount it first`,
    );
  }
  process.kill(pid, 'SIGSTOP');
  // Whatever becomes of this process, nobody must wait for ever.
  const guard = spawn(
    'sh',
    ['-c', `while kill -0 ${process.pid} 2> /dev/null; do sleep 0.2; done; kill -CONT ${pid}`],
    { detached: true, stdio: 'ignore', cwd: '/' },
  );
  guard.unref();
  return Promise.resolve(() => {
    if (processStart(pid) === pidStart) process.kill(pid, 'SIGCONT');
    guard.kill();
    return Promise.resolve();
  });
}

/** Whether a process does nothing but serve. */
function isServer(pid: number): boolean {
  try {
    // The title that a server gives itself.
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')[0] === 'layerfs';
  } catch (error) {
    if (error instanceof Error) return false;
    throw error;
  }
}
