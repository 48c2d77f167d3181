import { check, native } from './library.js';

const syncfsFunction = native('int syncfs(int fd)');

/** syncfs(2): everything written to the filesystem that `fd` lies on is durable afterwards. Throws ErrnoError. */
export function syncfs(fd: number): void {
  check(syncfsFunction(fd), 'syncfs');
}
