/** What can be a file's name: 1 to 255 bytes, neither `.` nor `..`, without `/` and NUL. */
import { MAX_NAME } from './format.js';

/** Whether a byte string can be a file's name. */
export function isName(name: string): boolean {
  return (
    name.length > 0 &&
    name.length <= MAX_NAME &&
    name !== '.' &&
    name !== '..' &&
    !name.includes('/') &&
    !name.includes('\0')
  );
}

/** {@link isName} of the bytes `[start, start + length)`. */
export function isNameAt(bytes: Uint8Array, start: number, length: number): boolean {
  if (length === 0 || length > MAX_NAME) return false;
  let dots = 0;
  for (let i = 0; i < length; i++) {
    const byte = bytes[start + i];
    if (byte === 0 || byte === 0x2f) return false;
    if (byte === 0x2e) dots++;
  }
  return dots !== length || length > 2;
}
