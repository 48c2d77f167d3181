/** Where tests put stores and trees. */
import { mkdtempSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MEMORY = '/dev/shm';

function roomyMemory(): boolean {
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    return bavail * bsize > 6 * 1024 ** 3;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}

/**
 * A new folder: in memory where there is much of it, as tests make and delete many thousands of files, on which disks
 * get slow; `disk` asks for the ordinary temporary folder all the same.
 */
export function scratchFolder(prefix: string, disk = false): string {
  return mkdtempSync(join(!disk && process.env['TMPDIR'] === undefined && roomyMemory() ? MEMORY : tmpdir(), prefix));
}
