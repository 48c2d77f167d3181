/** A seeded mutator for tars and JSON: the same seed makes the same damage, so a failure can be repeated. */
import { putChecksum } from '../images/tar.js';

/** xorshift128+ on 32-bit halves would be finer; for damage this is enough (mulberry32). */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** An integer from 0 to below `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  }
  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)];
  }
}

const BYTES = [0, 1, 0x2e, 0x2f, 0x30, 0x37, 0x38, 0x20, 0x0a, 0x3d, 0x2d, 0x7f, 0x80, 0xff];
/** Header fields: offset and length. */
const FIELDS: [offset: number, length: number][] = [
  [0, 100],
  [100, 8],
  [108, 8],
  [116, 8],
  [124, 12],
  [136, 12],
  [148, 8],
  [156, 1],
  [157, 100],
  [257, 8],
  [329, 8],
  [337, 8],
  [345, 155],
  [386, 24],
  [482, 1],
  [483, 12],
];
const TYPES = Buffer.from('01234567gxLKSDMVNAX\0', 'latin1');
const WORDS = [
  '../',
  '/',
  './',
  '..',
  '.wh.',
  '.wh..wh..opq',
  '99999999999',
  '-1',
  '\0',
  '77777777777',
  'a/b/c',
  '4294967296',
  '0x10',
  '1e9',
  '\xff\xfe',
];

/** Offsets that look like headers: blocks with ustar's magic. */
function headersOf(tar: Uint8Array): number[] {
  const found: number[] = [];
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    if (tar[at + 257] === 0x75 && tar[at + 258] === 0x73 && tar[at + 259] === 0x74) found.push(at);
  }
  return found.length > 0 ? found : [0];
}

function damageHeader(tar: Buffer, random: Random): void {
  const header = random.pick(headersOf(tar));
  if (header + 512 > tar.length) return;
  const block = tar.subarray(header, header + 512);
  const [offset, length] = random.pick(FIELDS);
  switch (random.below(5)) {
    case 0:
      block[156] = random.pick([...TYPES]);
      break;
    case 1:
      block[offset + random.below(length)] = random.pick(BYTES);
      break;
    case 2:
      block.write(random.pick(WORDS), offset, length, 'latin1');
      break;
    case 3:
      for (let at = 0; at < length; at++) block[offset + at] = random.below(256);
      break;
    default:
      block.fill(random.pick(BYTES), offset, offset + length);
  }
  // Mostly with the right checksum: else nothing behind the checksum would ever be tried.
  if (random.below(10) !== 0) putChecksum(block);
}

/** One to four kinds of damage to a tar. */
export function mutateTar(original: Uint8Array, random: Random): Buffer {
  let tar = Buffer.from(original);
  for (let times = 1 + random.below(4); times > 0; times--) {
    const at = random.below(tar.length || 1);
    const block = at - (at % 512);
    const kind = random.below(12);
    if (kind < 6) damageHeader(tar, random);
    else if (kind === 6) tar[at] = random.pick(BYTES);
    else if (kind === 7) tar = tar.subarray(0, at);
    else if (kind === 8)
      tar = Buffer.concat([tar.subarray(0, block), tar.subarray(block + 512 * (1 + random.below(3)))]);
    else if (kind === 9) tar = Buffer.concat([tar.subarray(0, block + 512), tar.subarray(block)]);
    else if (kind === 10) {
      const from = 512 * random.below(Math.ceil(tar.length / 512) || 1);
      tar = Buffer.concat([tar.subarray(0, block), tar.subarray(from, from + 1024), tar.subarray(block)]);
    } else {
      // Inside data: PAX records, sparse maps, long names.
      Buffer.from(random.pick(WORDS), 'latin1').copy(tar, at);
    }
  }
  return tar;
}

const VALUES: unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  0.5,
  2 ** 53,
  '',
  'sha256:',
  `sha256:${'0'.repeat(64)}`,
  '../../etc/passwd',
  '\0',
  [],
  {},
  [[]],
  'x'.repeat(5000),
  { digest: 5 },
  'application/x',
  '__proto__',
];

/** Replaces, removes or doubles something in a JSON value; now and then breaks the text itself. */
export function mutateJson(original: unknown, random: Random): string {
  const copy = structuredClone(original);
  for (let times = 1 + random.below(3); times > 0; times--) {
    let node: unknown = copy;
    for (let depth = random.below(6); depth >= 0; depth--) {
      if (typeof node !== 'object' || node === null) break;
      const keys = Object.keys(node);
      if (keys.length === 0) break;
      const key = random.pick(keys);
      const parent = node as Record<string, unknown>;
      const child = parent[key];
      if (depth > 0 && typeof child === 'object' && child !== null) {
        node = child;
        continue;
      }
      const kind = random.below(4);
      if (kind === 0) delete parent[key];
      else if (kind === 1 && Array.isArray(parent)) parent.push(structuredClone(child));
      else parent[key] = structuredClone(random.pick(VALUES));
      break;
    }
  }
  const text = JSON.stringify(copy);
  if (random.below(8) !== 0) return text;
  const at = random.below(text.length || 1);
  return text.slice(0, at) + random.pick(WORDS) + text.slice(at + random.below(3));
}
