/** Where tests put stores and trees. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A new folder: in memory where `npm test` found much of it (LAYERFS_TEST_MEMORY), as tests make and delete many thousands
 * of files, on which disks get slow; `disk` asks for the ordinary temporary folder all the same.
 */
export function scratchFolder(prefix: string, disk = false): string {
  const memory = process.env['LAYERFS_TEST_MEMORY'];
  return mkdtempSync(join(disk || memory === undefined ? tmpdir() : memory, prefix));
}
