import { spawn, spawnSync } from 'node:child_process';
import { close, receiveFd, setCloseOnExec, setNonBlocking, socketpair } from '@layerfs/linux';
import { MountError } from './error.js';
import { checkMountpoint, openDevice } from './kernel.js';
import { closeSync } from 'node:fs';
import type { MountOptions } from './options.js';

const PROGRAMS = ['fusermount3', 'fusermount'] as const;

/** The set-uid helper of libfuse that mounts for ordinary users; undefined when it is not installed. */
export function findFusermount(): string | undefined {
  return PROGRAMS.find((program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0);
}

/**
 * Mounts without root through fusermount3, which hands the device over a socket (protocol of libfuse's
 * util/fusermount.c). Returns the device descriptor. Throws MountError.
 */
export async function mountWithHelper(options: MountOptions): Promise<number> {
  checkMountpoint(options.mountpoint);
  const program = findFusermount();
  if (program === undefined)
    throw new MountError('no-helper', 'mounting without root needs fusermount3 (Debian package fuse3)');
  closeSync(openDevice());
  const [ours, theirs] = socketpair();
  try {
    setCloseOnExec(ours, true);
    const list = [`fsname=${options.fsname.replace(/([,\\])/g, '\\$1')}`, `subtype=${options.subtype}`];
    if (options.readOnly === true) list.push('ro');
    if (options.allowOther === true) list.push('allow_other');
    if (options.defaultPermissions === true) list.push('default_permissions');
    const child = spawn(program, ['-o', list.join(','), '--', options.mountpoint], {
      stdio: ['ignore', 'ignore', 'pipe', theirs],
      env: { ...process.env, _FUSE_COMMFD: '3' },
    });
    let complaint = '';
    child.stderr?.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
    const status = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    if (status !== 0) {
      const hint = complaint.includes('user_allow_other') ? ' (or mount without allow-other)' : '';
      throw new MountError('helper-failed', `${program}: ${complaint.trim() || `exit code ${status}`}${hint}`);
    }
    close(theirs);
    const fd = receiveFd(ours);
    if (fd === undefined) throw new MountError('helper-failed', `${program} sent no device`);
    setNonBlocking(fd, true);
    close(ours);
    return fd;
  } catch (error) {
    for (const fd of [ours, theirs]) closeQuietly(fd);
    throw error;
  }
}

function closeQuietly(fd: number): void {
  try {
    close(fd);
  } catch (error) {
    // EBADF: closed on the way here.
    if ((error as NodeJS.ErrnoException).code !== 'EBADF') throw error;
  }
}

/** Unmounts what {@link mountWithHelper} mounted. Throws MountError with the helper's words. */
export function unmountWithHelper(mountpoint: string, lazy = false): void {
  const program = findFusermount();
  if (program === undefined) throw new MountError('no-helper', 'unmounting without root needs fusermount3');
  const result = spawnSync(program, [lazy ? '-uz' : '-u', '--', mountpoint], { encoding: 'utf8' });
  if (result.status !== 0) throw new MountError('helper-failed', result.stderr.trim());
}
