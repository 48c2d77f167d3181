import { AT, close, ErrnoError, O, openat, readDirents, unlinkat } from '@layerfs/linux';
import { latin1Bytes } from '../../core/bytes.js';

/**
 * Removes all that is in an open folder, by descriptors and without following links: whatever others put in its place
 * meanwhile, nothing outside is touched.
 */
export function emptyFolder(fd: number): void {
  const names: string[] = [];
  const list = openat(fd, '.', O.RDONLY | O.DIRECTORY);
  try {
    readDirents(list, (name) => names.push(name));
  } finally {
    close(list);
  }
  for (const name of names) {
    const bytes = latin1Bytes(name);
    try {
      unlinkat(fd, bytes);
    } catch (error) {
      // Linux says EISDIR of a folder, POSIX EPERM.
      if (!(error instanceof ErrnoError) || !['EISDIR', 'EPERM'].includes(error.code)) throw error;
      removeFolder(fd, bytes);
    }
  }
}

function removeFolder(parent: number, name: Uint8Array): void {
  const fd = openat(parent, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  try {
    emptyFolder(fd);
  } finally {
    close(fd);
  }
  unlinkat(parent, name, AT.REMOVEDIR);
}
