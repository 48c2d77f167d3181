/** Xattr sets as they lie in the file: attributes sorted by name, so that equal sets are equal bytes. */
import { printable, writeLatin1 } from '../bytes.js';
import { LayerfsError } from '../error.js';
import { MAX_XATTR_NAME, MAX_XATTR_VALUE, XATTR_ENTRY, XATTR_HEAD } from './format.js';

/** One extended attribute: name (byte string) and value. */
export type Xattr = readonly [name: string, value: Uint8Array];

/** A set's size in bytes may not exceed this: far above what any filesystem takes, far below what hurts. */
const MAX_SET = 1024 * 1024;

/**
 * Encodes a set; of attributes with one name the last wins.
 * @throws LayerfsError invalid-argument for names and values that Linux would not take.
 */
export function encodeXattrs(xattrs: readonly Xattr[]): Uint8Array {
  const byName = new Map(xattrs);
  const sorted = [...byName].sort(([a], [b]) => (a < b ? -1 : 1));
  let size = XATTR_HEAD;
  for (const [name, value] of sorted) {
    if (name === '' || name.length > MAX_XATTR_NAME || name.includes('\0')) {
      throw new LayerfsError('invalid-argument', `invalid xattr name "${printable(name)}"`);
    }
    if (value.length > MAX_XATTR_VALUE) {
      throw new LayerfsError(
        'invalid-argument',
        `xattr ${printable(name)}: ${value.length} bytes, over ${MAX_XATTR_VALUE}`,
      );
    }
    size += entrySize(name.length, value.length);
  }
  if (size > MAX_SET) throw new LayerfsError('invalid-argument', `xattrs of one inode: ${size} bytes, over ${MAX_SET}`);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, size, true);
  view.setUint32(4, sorted.length, true);
  let at = XATTR_HEAD;
  for (const [name, value] of sorted) {
    view.setUint16(at, name.length, true);
    view.setUint32(at + 4, value.length, true);
    writeLatin1(name, bytes, at + XATTR_ENTRY);
    bytes.set(value, at + XATTR_ENTRY + name.length);
    at += entrySize(name.length, value.length);
  }
  return bytes;
}

/**
 * Calls `visit(nameStart, nameLength, valueStart, valueLength)` for each attribute of the set at `offset` of a pool,
 * until it returns true. Everything is checked against the pool: the bytes may be damaged.
 * @throws LayerfsError corrupt naming the offset.
 */
export function visitXattrs(
  pool: Uint8Array,
  offset: number,
  visit: (nameStart: number, nameLength: number, valueStart: number, valueLength: number) => boolean,
): void {
  if (offset % 4 !== 0 || offset + XATTR_HEAD > pool.length) throw corrupt('set', offset);
  const view = new DataView(pool.buffer, pool.byteOffset, pool.length);
  const end = offset + view.getUint32(offset, true);
  const count = view.getUint32(offset + 4, true);
  if (end > pool.length || count === 0) throw corrupt('set', offset);
  let at = offset + XATTR_HEAD;
  for (let i = 0; i < count; i++) {
    if (at + XATTR_ENTRY > end) throw corrupt('attribute', at);
    const nameLength = view.getUint16(at, true);
    const valueLength = view.getUint32(at + 4, true);
    const size = entrySize(nameLength, valueLength);
    if (nameLength === 0 || nameLength > MAX_XATTR_NAME || at + size > end) throw corrupt('attribute', at);
    const nameStart = at + XATTR_ENTRY;
    if (visit(nameStart, nameLength, nameStart + nameLength, valueLength)) return;
    at += size;
  }
  if (at !== end) throw corrupt('set', offset);
}

function entrySize(nameLength: number, valueLength: number): number {
  return Math.ceil((XATTR_ENTRY + nameLength + valueLength) / 4) * 4;
}

function corrupt(what: string, offset: number): LayerfsError {
  return new LayerfsError('corrupt', `tree: section xattrs: ${what} at offset ${offset} does not fit`);
}
