import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Connection,
  INIT,
  KERNEL_MINOR_VERSION,
  MountError,
  mountKernel,
  mountWithHelper,
  unmountWithHelper,
} from '@layerfs/fuse';
import { ErrnoError, MNT, close, openReadOnlyClone, openat, O, umount2 } from '@layerfs/linux';
import { answerInit } from '../server/init.js';
import type { Check } from './check.js';

/**
 * Mounts an empty FUSE file system for a moment and tries passthrough on a file of the store's filesystem: only that
 * tells whether the kernel will.
 * @param folder an existing folder on the filesystem to try, writable
 */
export async function tryMount(folder: string): Promise<Check[]> {
  const mountpoint = mkdtempSync(join(tmpdir(), 'layerfs-doctor-'));
  try {
    return await tryOn(mountpoint, folder);
  } catch (error) {
    if (!(error instanceof MountError) && !(error instanceof ErrnoError)) throw error;
    const use = 'Images cannot be mounted here: layerfs checkout writes plain files.';
    return [{ name: 'Mounting', ok: false, detail: await refused(mountpoint, error), use }];
  } finally {
    rmSync(mountpoint, { recursive: true });
  }
}

/** What to say where mounting is refused. Root without rights, as in a user namespace alone, has fusermount3 tried, too. */
async function refused(mountpoint: string, error: Error): Promise<string> {
  const detail = `Tried and refused: ${error.message}`;
  if (process.geteuid?.() !== 0) return `${detail}.`;
  const helper = await helperSays(mountpoint);
  return `${detail}; fusermount3: ${helper ?? 'works, and so would mounting as an ordinary user'}.`;
}

/** Whether fusermount3 would do better, tried; why not, if it does not. */
async function helperSays(mountpoint: string): Promise<string | undefined> {
  try {
    close(await mountWithHelper({ mountpoint, fsname: 'layerfs-doctor', subtype: 'layerfs', readOnly: true }));
    unmountWithHelper(mountpoint, true);
    return undefined;
  } catch (error) {
    if (!(error instanceof MountError)) throw error;
    return error.message.replace(/^fusermount3: /g, '').replace(/\.$/, '');
  }
}

async function tryOn(mountpoint: string, folder: string): Promise<Check[]> {
  const capabilities = [INIT.PASSTHROUGH];
  const root = process.geteuid?.() === 0;
  const options = { mountpoint, fsname: 'layerfs-doctor', subtype: 'layerfs', readOnly: true, noDevices: true };
  const connection = new Connection(root ? mountKernel(options) : await mountWithHelper(options), {
    init: { capabilities },
  });
  try {
    answerInit(connection);
    const minor = connection.negotiated?.minor ?? 0;
    const protocol: Check = {
      name: 'Mounting',
      ok: true,
      detail: `Tried: works. The kernel speaks FUSE 7.${String(minor)}${minor === KERNEL_MINOR_VERSION ? ' or later' : ''}.`,
      use: root ? 'Mounts are made with mount(2).' : 'Mounts are made through fusermount3, as this user is not root.',
    };
    return [protocol, root ? passthroughCheck(connection, folder) : NOT_FOR_USERS];
  } finally {
    if (root) umount2(mountpoint, MNT.DETACH | MNT.NOFOLLOW);
    else unmountWithHelper(mountpoint, true);
    connection.close();
  }
}

const THROUGH_US = 'File content goes through the serving process and the page cache.';

const NOT_FOR_USERS: Check = {
  name: 'FUSE passthrough',
  ok: 'warn',
  detail: 'Not for users without root: the kernel wants CAP_SYS_ADMIN.',
  use: THROUGH_US,
  hint: 'As root, large files are read at full speed.',
};

function passthroughCheck(connection: Connection, folder: string): Check {
  const name = 'FUSE passthrough';
  if (!connection.passthrough) {
    return { name, ok: 'warn', detail: 'This kernel has none.', use: THROUGH_US, hint: 'Linux 6.9 or later.' };
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
    return {
      name,
      ok: true,
      detail: "Tried: works on the store's filesystem.",
      use: 'The kernel reads large files itself, at full speed.',
    };
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    return {
      name,
      ok: 'warn',
      detail: `Tried and refused: ${error.message}.`,
      use: THROUGH_US,
    };
  } finally {
    rmSync(join(files, '..'), { recursive: true });
  }
}
