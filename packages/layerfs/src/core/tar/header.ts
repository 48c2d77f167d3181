/**
 * One 512-byte tar header: POSIX ustar, GNU and the v7 format before them (POSIX.1-2017, pax, "ustar Interchange
 * Format"; GNU tar manual, "Basic Tar Format"). Only fields are read here; what they mean together is the parser's.
 */
import { latin1 } from '../bytes.js';
import { LayerfsError } from '../error.js';

/** Bytes of a header and of the unit everything in a tar is padded to. */
export const BLOCK = 512;

/** The fields of one header. Names are byte strings; `size` in bytes, `mtime` in seconds. */
export interface TarHeader {
  readonly name: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  /** The type flag as a char; `'0'` also for NUL. */
  readonly type: string;
  readonly linkname: string;
  readonly format: 'v7' | 'ustar' | 'gnu';
  readonly devmajor: number;
  readonly devminor: number;
}

function fail(field: string, offset: number, what: string): never {
  throw new LayerfsError('corrupt', `tar header at byte ${offset}: ${field} ${what}`);
}

/** Whether all 512 bytes are zero: the end-of-archive mark is two such blocks. */
export function isZeroBlock(block: Uint8Array): boolean {
  for (let i = 0; i < BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

function text(block: Uint8Array, start: number, length: number): string {
  let end = start;
  while (end < start + length && block[end] !== 0) end++;
  return latin1(block, start, end);
}

/**
 * A number: octal digits ended by space or NUL, or GNU's base-256 with the top bit set.
 * Negative ones are only possible in base-256, and only for times.
 */
function numeric(block: Uint8Array, start: number, length: number, field: string, offset: number): number {
  const first = block[start];
  if ((first & 0x80) !== 0) {
    const negative = (first & 0x40) !== 0;
    let value = negative ? first | ~0x7f : first & 0x3f;
    for (let i = start + 1; i < start + length; i++) {
      value = value * 256 + block[i];
      if (!Number.isSafeInteger(value)) fail(field, offset, 'is out of range');
    }
    return value;
  }
  let i = start;
  const end = start + length;
  while (i < end && (block[i] === 0x20 || block[i] === 0)) i++;
  let value = 0;
  for (; i < end && block[i] !== 0x20 && block[i] !== 0; i++) {
    const digit = block[i] - 0x30;
    if (digit < 0 || digit > 7) fail(field, offset, 'is not an octal number');
    value = value * 8 + digit;
  }
  return value;
}

function natural(block: Uint8Array, start: number, length: number, field: string, offset: number): number {
  const value = numeric(block, start, length, field, offset);
  if (value < 0) fail(field, offset, 'is negative');
  return value;
}

/** Old tars summed signed chars, so both sums are accepted. */
function checkSum(block: Uint8Array, offset: number): void {
  const stored = numeric(block, 148, 8, 'checksum', offset);
  let unsigned = 8 * 0x20;
  let signed = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) {
    if (i === 148) i = 156;
    unsigned += block[i];
    signed += (block[i] << 24) >> 24;
  }
  if (stored !== unsigned && stored !== signed) fail('checksum', offset, 'does not match: not a tar, or damaged');
}

function formatOf(block: Uint8Array): 'v7' | 'ustar' | 'gnu' {
  const magic = latin1(block, 257, 265);
  if (magic.startsWith('ustar\0')) return 'ustar';
  if (magic === 'ustar  \0') return 'gnu';
  return 'v7';
}

/**
 * Reads a header.
 * @param offset where it lies in the archive, for messages
 * @throws LayerfsError corrupt: checksum, malformed or negative numbers
 */
export function parseHeader(block: Uint8Array, offset: number): TarHeader {
  checkSum(block, offset);
  const format = formatOf(block);
  const flag = block[156];
  const type = flag === 0 ? '0' : String.fromCharCode(flag);
  let name = text(block, 0, 100);
  if (format === 'ustar' && block[345] !== 0) name = `${text(block, 345, 155)}/${name}`;
  const device = type === '3' || type === '4';
  return {
    name,
    mode: natural(block, 100, 8, 'mode', offset),
    uid: natural(block, 108, 8, 'uid', offset),
    gid: natural(block, 116, 8, 'gid', offset),
    size: natural(block, 124, 12, 'size', offset),
    mtime: numeric(block, 136, 12, 'mtime', offset),
    type,
    linkname: text(block, 157, 100),
    format,
    devmajor: device && format !== 'v7' ? natural(block, 329, 8, 'devmajor', offset) : 0,
    devminor: device && format !== 'v7' ? natural(block, 337, 8, 'devminor', offset) : 0,
  };
}
