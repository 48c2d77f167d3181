/**
 * Byte strings. Names, link targets and xattr names are bytes without an encoding; inside JavaScript
 * they are latin1 strings, one char a byte, because those compare, hash and concatenate without copies.
 * UTF-8 exists only where people look: the terminal and JSON.
 */
import { LayerfsError } from './error.js';

const CHUNK = 4096;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** The bytes `[start, end)` as a latin1 string, one char a byte. */
export function latin1(bytes: Uint8Array, start = 0, end: number = bytes.length): string {
  // Short names are the common case: appending chars beats both apply() and TextDecoder on them.
  if (end - start <= 48) {
    let text = '';
    for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i]);
    return text;
  }
  const parts: string[] = [];
  for (let i = start; i < end; i += CHUNK) {
    parts.push(
      String.fromCharCode.apply(undefined, bytes.subarray(i, Math.min(end, i + CHUNK)) as unknown as number[]),
    );
  }
  return parts.join('');
}

/**
 * Writes a latin1 string into `target` at `offset` and returns the number of bytes written.
 * @throws LayerfsError invalid-argument if a char is no byte; RangeError never: the caller has made room.
 */
export function writeLatin1(text: string, target: Uint8Array, offset: number): number {
  let seen = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    seen |= code;
    target[offset + i] = code;
  }
  if (seen > 0xff) throw new LayerfsError('invalid-argument', `not a byte string: ${JSON.stringify(text)}`);
  return text.length;
}

/** The bytes of a latin1 string. @throws LayerfsError invalid-argument if a char is no byte. */
export function latin1Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  writeLatin1(text, bytes, 0);
  return bytes;
}

/** The UTF-8 bytes of a text as a latin1 string: what a name typed by a person is inside the library. */
export function utf8ToLatin1(text: string): string {
  return latin1(new TextEncoder().encode(text));
}

/**
 * A byte string for people: decoded as UTF-8, with `\xHH` for bytes that are not UTF-8 and for control characters,
 * and `\\` for a backslash, so that different names never look the same and no name can steer a terminal.
 */
export function printable(text: string): string {
  let out = '';
  for (let i = 0; i < text.length;) {
    const length = utf8SequenceLength(text, i);
    if (length === 0) {
      out += `\\x${HEX[text.charCodeAt(i)]}`;
      i++;
      continue;
    }
    const sequence = text.slice(i, i + length);
    if (length > 1) out += new TextDecoder().decode(latin1Bytes(sequence));
    else if (sequence === '\\') out += '\\\\';
    else out += sequence;
    i += length;
  }
  return out;
}

/** Length of the valid, printable UTF-8 sequence at `at`, or 0 when there is none. */
function utf8SequenceLength(text: string, at: number): number {
  const first = text.charCodeAt(at);
  if (first >= 0x20 && first < 0x7f) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (at + length > text.length) return 0;
  let point = first & (0xff >> (length + 1));
  for (let i = 1; i < length; i++) {
    const next = text.charCodeAt(at + i);
    if ((next & 0xc0) !== 0x80) return 0;
    point = (point << 6) | (next & 0x3f);
  }
  if (length === 3 && (point < 0x800 || (point >= 0xd800 && point <= 0xdfff))) return 0;
  if (length === 4 && (point < 0x10000 || point > 0x10ffff)) return 0;
  // C1 controls, separators and direction marks move what a terminal shows.
  if (point < 0xa0 || (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069)) return 0;
  if (point === 0x200e || point === 0x200f || point === 0xfeff) return 0;
  return length;
}

/** Lower-case hex of the bytes `[start, end)`. */
export function hex(bytes: Uint8Array, start = 0, end: number = bytes.length): string {
  let text = '';
  for (let i = start; i < end; i++) text += HEX[bytes[i]];
  return text;
}

/** The bytes of an even-length hex string. @throws LayerfsError invalid-argument if it is none. */
export function hexBytes(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new LayerfsError('invalid-argument', `not a hex string: ${JSON.stringify(text.slice(0, 80))}`);
  }
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
