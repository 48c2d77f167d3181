import { closeSync, existsSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ErrnoError, ficlone } from '@layerfs/linux';
import type { Check } from './check.js';
import { storeFeatures } from './store-features.js';

// Magic numbers of statfs(2).
const NAMES: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
  [0x01021994, 'tmpfs'],
  [0x794c7630, 'overlay'],
  [0x6969, 'nfs'],
  [0xff534d42, 'cifs'],
  [0x65735546, 'fuse'],
  [0xca451a4e, 'bcachefs'],
  [0xf2f52010, 'f2fs'],
]);

/** Magic numbers of filesystems that stand on others: the kernel limits how deep such may be stacked. */
export const STACKED_FILESYSTEMS: ReadonlySet<number> = new Set([0x794c7630, 0xf15f, 0x65735546]);

/** What the store's folder lies on, its free space, and whether it can share blocks between files. */
export function storeChecks(root: string): Check[] {
  let folder = root;
  while (!existsSync(folder)) folder = dirname(folder);
  const { type, bavail, bsize, ffree, files } = statfsSync(folder);
  const filesystem = NAMES.get(type) ?? `0x${type.toString(16)}`;
  const freeGiB = (bavail * bsize) / 2 ** 30;
  const network = filesystem === 'nfs' || filesystem === 'cifs';
  const missing = folder === root ? '' : ' (not made yet)';
  const checks: Check[] = [
    {
      name: 'Store folder',
      ok: network ? 'warn' : true,
      detail: `${root}${missing} on ${filesystem}, ${freeGiB.toFixed(1)} GiB free.`,
      ...(network
        ? { hint: 'Locks and maps over a network filesystem are slow and fragile: keep the store local.' }
        : {}),
    },
  ];
  if (freeGiB < 1 || (files > 0 && ffree < 10_000)) {
    checks.push({
      name: 'Free space',
      ok: 'warn',
      detail: `${freeGiB.toFixed(2)} GiB and ${String(ffree)} inodes are left for the store.`,
      hint: 'Each distinct file of an image needs one inode. `layerfs du` shows what images take.',
    });
  }
  checks.push(reflinkCheck(folder, filesystem), ...storeFeatures(folder));
  return checks;
}

function reflinkCheck(folder: string, filesystem: string): Check {
  const name = 'Reflinks';
  const works = tryReflink(folder);
  if (works === undefined) {
    return { name, ok: 'warn', detail: `Not tried: this user may not write to ${folder}.` };
  }
  return works
    ? {
        name,
        ok: true,
        detail: `Tried: works on ${filesystem}.`,
        use: 'Checkouts and copy-ups share blocks with the store.',
      }
    : {
        name,
        ok: 'warn',
        detail: `Tried: not on ${filesystem}.`,
        use: 'Checkouts and copy-ups copy content; mounts are not concerned.',
        hint: 'btrfs, or xfs made with reflink=1, shares blocks.',
      };
}

function tryReflink(folder: string): boolean | undefined {
  let temporary: string;
  try {
    temporary = mkdtempSync(join(folder, '.doctor-'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM' || code === 'ENOSPC') return undefined;
    throw error;
  }
  const open: number[] = [];
  try {
    const from = openSync(join(temporary, 'from'), 'w+');
    open.push(from);
    const to = openSync(join(temporary, 'to'), 'w+');
    open.push(to);
    writeSync(from, 'x'.repeat(8192));
    ficlone(to, from);
    return true;
  } catch (error) {
    if (error instanceof ErrnoError || (error as NodeJS.ErrnoException).code === 'ENOSPC') return false;
    throw error;
  } finally {
    for (const fd of open) closeSync(fd);
    rmSync(temporary, { recursive: true });
  }
}
