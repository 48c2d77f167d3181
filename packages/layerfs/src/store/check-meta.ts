import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { LayerfsError } from '../core/error.js';

/** How many descriptors LMDB takes: its lock, its data, and the data once more. */
const DESCRIPTORS = 3;
/** struct MDB_meta behind a page header of 24 bytes, as the lmdb package has it; its page size is at 24. */
const HEADER = 24;
const PAGE_SIZE = HEADER + 24;
const LENGTH = HEADER + 144;
const P_META = 0x08;
const MAGIC = 0xbeefc0de;

/**
 * Looks at what LMDB is about to open: when that fails, its binding ends the whole process.
 * @throws what opening throws (EMFILE, EIO, EACCES …); LayerfsError corrupt naming the file
 */
export function checkMeta(folder: string): void {
  const path = join(folder, 'data.mdb');
  const fds: number[] = [];
  try {
    for (let i = 0; i < DESCRIPTORS; i++) fds.push(openSync(path, 'r+'));
    const pageSize = checkPage(fds[0], 0, path);
    checkPage(fds[0], pageSize, path);
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

/** @returns the page size */
function checkPage(fd: number, at: number, path: string): number {
  const page = Buffer.alloc(LENGTH);
  const length = readSync(fd, page, 0, LENGTH, at);
  const pageSize = page.readUInt32LE(PAGE_SIZE);
  const right = (page.readUInt16LE(18) & P_META) !== 0 && page.readUInt32LE(HEADER) === MAGIC;
  if (length === LENGTH && right && pageSize >= 512 && pageSize <= 65_536) return pageSize;
  throw new LayerfsError(
    'corrupt',
    `the store is damaged: ${path} has no records (its page at byte ${at} is no LMDB meta page)`,
  );
}
