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
  // errno belongs to the thread that failed; asking again here tells it.
  if (result === -1) syncfs(fd);
}
