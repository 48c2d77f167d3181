import { renameSync } from 'node:fs';
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
