import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connection, INIT, KERNEL_MINOR_VERSION, MountError, mountKernel } from '@layerfs/fuse';
import { ErrnoError, MNT, openReadOnlyClone, openat, O, close, umount2 } from '@layerfs/linux';
import { answerInit } from '../server/init.js';
import type { Check } from './check.js';

/**
 * Mounts an empty FUSE file system for a moment and tries passthrough on a file of the store's filesystem: only that
 * tells whether the kernel will.
 * @param folder an existing folder on the filesystem to try, writable
 */
export function tryMount(folder: string): Check[] {
  if (process.geteuid?.() !== 0) {
    return [
      { name: 'Mounting', ok: true, detail: 'Through fusermount3, as this user is not root.' },
      {
        name: 'FUSE passthrough',
        ok: 'warn',
        detail: 'Not for users without root: the kernel wants CAP_SYS_ADMIN.',
        hint: 'File content goes through the serving process; as root it would be read at full speed.',
      },
    ];
  }
  const mountpoint = mkdtempSync(join(tmpdir(), 'layerfs-doctor-'));
  try {
    return tryOn(mountpoint, folder);
  } catch (error) {
    if (error instanceof MountError || error instanceof ErrnoError) {
      return [{ name: 'Mounting', ok: false, detail: `Failed: ${error.message}.` }];
    }
    throw error;
  } finally {
    rmSync(mountpoint, { recursive: true });
  }
}

function tryOn(mountpoint: string, folder: string): Check[] {
  const capabilities = [INIT.PASSTHROUGH];
  const fd = mountKernel({ mountpoint, fsname: 'layerfs-doctor', subtype: 'layerfs', readOnly: true, noDevices: true });
  const connection = new Connection(fd, { init: { capabilities } });
  try {
    answerInit(connection);
    const minor = connection.negotiated?.minor ?? 0;
    const protocol: Check = {
      name: 'Mounting',
      ok: true,
      detail: `Tried: works. The kernel speaks FUSE 7.${String(minor)}${minor === KERNEL_MINOR_VERSION ? ' or later' : ''}.`,
    };
    return [protocol, passthroughCheck(connection, folder)];
  } finally {
    umount2(mountpoint, MNT.DETACH | MNT.NOFOLLOW);
    connection.close();
  }
}

function passthroughCheck(connection: Connection, folder: string): Check {
  const name = 'FUSE passthrough';
  if (!connection.passthrough) {
    return { name, ok: 'warn', detail: 'This kernel has none (Linux 6.9 brought it).' };
  }
  const files = join(mkdtempSync(join(folder, '.doctor-')), 'files');
  try {
    mkdirSync(files);
    writeFileSync(join(files, 'file'), 'x');
    const open: number[] = [];
    try {
      open.push(openReadOnlyClone(files));
      open.push(openat(open[0], 'file', O.RDONLY | O.CLOEXEC));
      connection.closeBacking(connection.openBacking(open[1]));
    } finally {
      for (const fd of open) close(fd);
    }
    return { name, ok: true, detail: 'Tried: the kernel reads objects itself, at full speed.' };
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    return {
      name,
      ok: 'warn',
      detail: `Tried and refused: ${error.message}.`,
      hint: 'Mounts work; file content goes through the serving process.',
    };
  } finally {
    rmSync(join(files, '..'), { recursive: true });
  }
}
