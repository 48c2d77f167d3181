/**
 * Names for a binding that knows only text. Bytes that are no UTF-8 become one private character each (U+EF80 to U+EFFF for
 * 0x80 to 0xFF), and so do the bytes of those characters themselves: every name can be shown, and what is shown leads back.
 */

const FIRST = 0xef80;
const LAST = 0xefff;
const BASE = 0xef00;
/** What the binding makes of bytes in a path that are no UTF-8; the name they were part of is lost. */
const LOST = '\ufffd';

/** The text that stands for a byte string (latin1, one char a byte). */
export function textOf(name: string): string {
  let at = 0;
  while (at < name.length && name.charCodeAt(at) < 0x80) at++;
  if (at === name.length) return name;
  let text = name.slice(0, at);
  while (at < name.length) {
    const length = sequence(name, at);
    if (length === 0) text += String.fromCharCode(BASE + name.charCodeAt(at++));
    else {
      text += Buffer.from(name.slice(at, at + length), 'latin1').toString('utf8');
      at += length;
    }
  }
  return text;
}

/** Length of the character that begins at `at`; 0 when it has to be shown byte by byte. */
function sequence(name: string, at: number): number {
  const first = name.charCodeAt(at);
  if (first < 0x80) return 1;
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > name.length) return 0;
  let point = first & (0x7f >> length);
  for (let i = 1; i < length; i++) {
    const next = name.charCodeAt(at + i);
    if ((next & 0xc0) !== 0x80) return 0;
    point = (point << 6) | (next & 0x3f);
  }
  const shortest = length === 2 ? 0x80 : length === 3 ? 0x800 : 0x10000;
  const surrogate = point >= 0xd800 && point <= 0xdfff;
  if (point < shortest || point > 0x10ffff || surrogate || (point >= FIRST && point <= LAST)) return 0;
  return length;
}

/** The byte string that a text stands for. */
export function bytesOf(text: string): string {
  let name = '';
  let plain = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < FIRST || code > LAST) continue;
    name += Buffer.from(text.slice(plain, at), 'utf8').toString('latin1') + String.fromCharCode(code - BASE);
    plain = at + 1;
  }
  return name + Buffer.from(text.slice(plain), 'utf8').toString('latin1');
}

/** Whether a name that is to be made has lost bytes on its way. */
export function isLost(text: string): boolean {
  return text.includes(LOST);
}
