import { closeSync, openSync } from 'node:fs';
import { ErrnoError, close, getProjectQuota, mountMapped, openTreeClone, withUserNamespace } from '@layerfs/linux';
import type { Check } from './check.js';

/**
 * What the filesystem of a folder offers beside files.
 * @param folder an existing one
 */
export function storeFeatures(folder: string): Check[] {
  return [idMapped(folder), quotas(folder)];
}

function idMapped(folder: string): Check {
  const name = 'Idmapped mounts';
  const without = 'Containers in a user namespace of their own get layers whose owners were changed by copying.';
  if (process.geteuid?.() !== 0) {
    return {
      name,
      ok: 'warn',
      detail: 'Not for users without root.',
      use: 'Nothing: only the snapshotter needs them.',
    };
  }
  const run = [{ inside: 0, outside: 100_000, count: 65536 }];
  try {
    const clone = openTreeClone(folder);
    try {
      withUserNamespace(run, run, (namespace) => mountMapped(clone, namespace));
    } finally {
      close(clone);
    }
    return {
      name,
      ok: true,
      detail: "Tried: works on the store's filesystem.",
      use: 'The snapshotter shifts owners for containers in user namespaces without copying.',
    };
  } catch (error) {
    // Also of the files that take a namespace's ids, as root of a namespace has few to give.
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return {
      name,
      ok: 'warn',
      detail: `Tried and refused: ${error instanceof ErrnoError ? error.message : code}.`,
      use: without,
      hint: 'They need Linux 5.12, user namespaces, and a filesystem that has them: ext4, xfs, btrfs, or tmpfs since 6.3.',
    };
  }
}

function quotas(folder: string): Check {
  const name = 'Project quotas';
  const fd = openSync(folder, 'r');
  try {
    getProjectQuota(fd, 0);
    return {
      name,
      ok: true,
      detail: "Switched on, on the store's filesystem.",
      use: "The snapshotter limits a snapshot's size where containerd asks for it.",
    };
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    return {
      name,
      ok: 'warn',
      detail: error.code === 'EPERM' ? 'Only root may ask.' : "Not switched on, on the store's filesystem.",
      use: 'A snapshot whose size is to be limited is refused.',
      hint: 'ext4 made with -O quota,project or xfs, mounted with prjquota.',
    };
  } finally {
    closeSync(fd);
  }
}
