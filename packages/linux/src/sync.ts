import { errno } from './errno.js';
import { ErrnoError } from './error.js';
import { check, native, nativeAsync } from './library.js';

const syncfsPrototype = 'int syncfs(int fd)';
const syncfsFunction = native(syncfsPrototype);

/** syncfs(2): everything written to the filesystem that `fd` lies on is durable afterwards. Throws ErrnoError. */
export function syncfs(fd: number): void {
  check(syncfsFunction(fd), 'syncfs');
}

/**
 * {@link syncfs} in another thread. The descriptor must stay open until it is done.
 * Rejects with ErrnoError.
 */
export async function syncfsAsync(fd: number): Promise<void> {
  const result = await nativeAsync(syncfsPrototype)(fd);
  if (result !== -1) return;
  // errno belongs to the thread that failed. Asking again may tell it; a failed write is told only once.
  syncfs(fd);
  throw new ErrnoError(errno.EIO, 'syncfs');
}
