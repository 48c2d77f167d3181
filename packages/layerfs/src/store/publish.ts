import { renameSync } from 'node:fs';
import { RENAME, renameat2 } from '@layerfs/linux/at';
import { AT_FDCWD } from '@layerfs/linux/open';
import { isErrno } from './errors.js';

/** Renames a folder into place unless one is there: then that one is as good. @returns whether it was moved */
export function publishFolder(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOTEMPTY', 'EEXIST')) return false;
    throw error;
  }
}

/**
 * Renames a folder into place. One that is there comes to where the other was: it may be what is left of one whose removal
 * was interrupted. There is a whole one at any time, as somebody else may just be recording it.
 */
export function replaceFolder(from: string, to: string): void {
  if (!publishFolder(from, to)) renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME.EXCHANGE);
}
