import { read } from 'node:fs';

/** pread(2) in another thread, for a descriptor that was opened by other means than Node's. @returns bytes read */
export function readAt(fd: number, buffer: Uint8Array, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, buffer, 0, buffer.length, offset, (error, bytes) => {
      if (error === null) resolve(bytes);
      else reject(error);
    });
  });
}
