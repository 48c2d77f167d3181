/**
 * PAX extended headers (POSIX.1-2017, pax, "pax Header Block"): records `LENGTH KEY=VALUE\n`, where the length counts
 * the whole record, so that values may hold any byte.
 */
import { latin1 } from '../bytes.js';
import { LayerfsError } from '../error.js';

/** One record; key and value are byte strings. */
export type PaxRecord = readonly [key: string, value: string];

function fail(at: number, what: string): never {
  throw new LayerfsError('corrupt', `PAX header at byte ${at}: ${what}`);
}

/**
 * Splits a PAX header's body.
 * @param offset where the body lies in the archive, for messages
 * @throws LayerfsError corrupt
 */
export function parsePax(body: Uint8Array, offset: number): PaxRecord[] {
  const records: PaxRecord[] = [];
  let at = 0;
  while (at < body.length) {
    // Some writers pad the body with NULs.
    if (body[at] === 0) break;
    let length = 0;
    let i = at;
    for (; i < body.length && body[i] >= 0x30 && body[i] <= 0x39 && i - at < 10; i++) {
      length = length * 10 + (body[i] - 0x30);
    }
    if (i === at || body[i] !== 0x20) fail(offset + at, 'a record has no length');
    const end = at + length;
    if (length < 5 || end > body.length || body[end - 1] !== 0x0a) fail(offset + at, 'a record has a wrong length');
    const equals = body.indexOf(0x3d, i + 1);
    if (equals < 0 || equals >= end) fail(offset + at, "a record has no '='");
    if (equals === i + 1) fail(offset + at, 'a record has no key');
    records.push([latin1(body, i + 1, equals), latin1(body, equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/** A decimal number of a PAX record, not negative. @throws LayerfsError corrupt */
export function paxNumber(key: string, value: string, offset: number): number {
  const number = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(number)) fail(offset, `${key} is not a number in range`);
  return number;
}

/** A time of a PAX record, `[-]SECONDS[.FRACTION]`, as whole seconds (rounded down) and nanoseconds. */
export function paxTime(key: string, value: string, offset: number): { sec: number; nsec: number } {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(value);
  if (match === null) fail(offset, `${key} is not a time`);
  const seconds = Number(match[2]);
  const nanos = Number(((match[3] ?? '') + '000000000').slice(0, 9));
  if (match[1] === '') return { sec: seconds, nsec: nanos };
  return nanos === 0 ? { sec: -seconds, nsec: 0 } : { sec: -seconds - 1, nsec: 1e9 - nanos };
}
