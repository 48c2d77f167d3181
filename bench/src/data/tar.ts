/** Tars of made-up trees. */

export const BLOCK = 512;
const TIME = 1_700_000_000;

/** A ustar header of a file (type `0`) or folder (`5`) that belongs to root. @param path at most 100 bytes */
export function tarHeader(path: string, type: string, size: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, digits: number): void => {
    bytes.write(value.toString(8).padStart(digits, '0'), at, 'latin1');
  };
  bytes.write(path, 0, 'latin1');
  octal(type === '5' ? 0o755 : 0o644, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(size, 124, 11);
  octal(TIME, 136, 11);
  bytes.write(type, 156, 'latin1');
  bytes.write('ustar\x0000', 257, 'latin1');
  bytes.fill(' ', 148, 156);
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += bytes[i];
  octal(sum, 148, 6);
  bytes[154] = 0;
  return bytes;
}
