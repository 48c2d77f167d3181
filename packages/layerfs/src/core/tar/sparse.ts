/**
 * GNU tar's sparse files (GNU tar manual, "Sparse Formats"): the old header with extension blocks, and PAX 0.0, 0.1
 * and 1.0. All end up as one list of data ranges; everything between them is a hole.
 */
import { LayerfsError } from '../error.js';
import { BLOCK } from './header.js';
import { paxNumber, type PaxRecord } from './pax.js';

/** One range of data in a sparse file, in bytes. */
export interface SparseRange {
  readonly offset: number;
  readonly length: number;
}

/** More ranges than this are refused: a map must not cost more memory than the file is worth. */
export const MAX_SPARSE_RANGES = 1_000_000;

function fail(offset: number, what: string): never {
  throw new LayerfsError('corrupt', `sparse map at byte ${offset}: ${what}`);
}

/** Old GNU format: `count` pairs of 12-byte numbers; the first that is empty ends the list. */
export function oldGnuRanges(block: Uint8Array, start: number, count: number, offset: number): SparseRange[] {
  const ranges: SparseRange[] = [];
  for (let i = 0; i < count; i++) {
    const at = start + i * 24;
    if (block[at] === 0 && block[at + 12] === 0) break;
    ranges.push({ offset: gnuNumber(block, at, offset), length: gnuNumber(block, at + 12, offset) });
  }
  return ranges;
}

/** A 12-byte number of the old GNU sparse header: octal or base-256. */
export function gnuNumber(block: Uint8Array, at: number, offset: number): number {
  let value = 0;
  if ((block[at] & 0x80) !== 0) {
    if ((block[at] & 0x7f) !== 0) fail(offset, 'a number is out of range');
    for (let i = at + 1; i < at + 12; i++) value = value * 256 + block[i];
  } else {
    for (let i = at; i < at + 12 && block[i] !== 0 && block[i] !== 0x20; i++) {
      const digit = block[i] - 0x30;
      if (digit < 0 || digit > 7) fail(offset, 'a number is not octal');
      value = value * 8 + digit;
    }
  }
  if (!Number.isSafeInteger(value)) fail(offset, 'a number is out of range');
  return value;
}

/** PAX 0.0 (repeated offset and numbytes records) and 0.1 (one map record); undefined when there is neither. */
export function paxRanges(records: readonly PaxRecord[], offset: number): SparseRange[] | undefined {
  const ranges: SparseRange[] = [];
  let found = false;
  let start: number | undefined;
  for (const [key, value] of records) {
    if (key === 'GNU.sparse.map') {
      found = true;
      const numbers = value === '' ? [] : value.split(',');
      if (numbers.length % 2 !== 0 || numbers.length / 2 > MAX_SPARSE_RANGES) fail(offset, 'the map is malformed');
      for (let i = 0; i < numbers.length; i += 2) {
        ranges.push({ offset: paxNumber(key, numbers[i], offset), length: paxNumber(key, numbers[i + 1], offset) });
      }
    } else if (key === 'GNU.sparse.offset') {
      found = true;
      start = paxNumber(key, value, offset);
    } else if (key === 'GNU.sparse.numbytes') {
      if (start === undefined) fail(offset, 'a length without an offset');
      ranges.push({ offset: start, length: paxNumber(key, value, offset) });
      start = undefined;
    }
  }
  return found ? ranges : undefined;
}

/**
 * PAX 1.0: the map stands before the data as decimal lines (a count, then offset and length of each range), padded to
 * a block. Fed block by block until it is complete.
 */
export class SparseMapReader {
  readonly #offset: number;
  readonly #numbers: number[] = [];
  #pending = '';
  #expected: number | undefined;

  constructor(offset: number) {
    this.#offset = offset;
  }

  /** Takes one block; returns the ranges when the map ended in it. */
  push(block: Uint8Array): SparseRange[] | undefined {
    for (let i = 0; i < BLOCK; i++) {
      const byte = block[i];
      if (byte !== 0x0a) {
        if (byte < 0x30 || byte > 0x39 || this.#pending.length > 15) fail(this.#offset, 'not a number');
        this.#pending += String.fromCharCode(byte);
        continue;
      }
      if (this.#pending === '') fail(this.#offset, 'not a number');
      const value = Number(this.#pending);
      this.#pending = '';
      if (this.#expected === undefined) {
        if (value > MAX_SPARSE_RANGES) fail(this.#offset, 'too many ranges');
        this.#expected = value * 2;
      } else this.#numbers.push(value);
      if (this.#numbers.length === this.#expected) return this.#ranges();
    }
    return undefined;
  }

  #ranges(): SparseRange[] {
    const ranges: SparseRange[] = [];
    for (let i = 0; i < this.#numbers.length; i += 2) {
      ranges.push({ offset: this.#numbers[i], length: this.#numbers[i + 1] });
    }
    return ranges;
  }
}

/**
 * Proves that the ranges lie in order inside the file and add up to the data that follows.
 * @throws LayerfsError corrupt
 */
export function checkRanges(ranges: readonly SparseRange[], size: number, data: number, offset: number): void {
  let end = 0;
  let sum = 0;
  for (const range of ranges) {
    if (range.offset < end) fail(offset, 'ranges overlap or are out of order');
    end = range.offset + range.length;
    sum += range.length;
    if (end > size) fail(offset, 'a range lies behind the end of the file');
  }
  if (sum !== data) fail(offset, `ranges hold ${sum} bytes, but ${data} follow`);
}
