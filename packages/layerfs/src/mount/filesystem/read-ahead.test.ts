import { beforeEach, expect, it } from 'vitest';
import { LONGEST_RANGE, ReadAhead } from './read-ahead.js';

const COUNT = 1000;
let advised: number[];
let ahead: ReadAhead;
beforeEach(() => {
  advised = [];
  ahead = new ReadAhead(COUNT, (object) => advised.push(object));
});

const range = (first: number, end: number): number[] => Array.from({ length: end - first }, (_, i) => first + i);
function rest(): number[] {
  advised.length = 0;
  while (ahead.step());
  return advised;
}
/** What is read ahead after each of the objects, all of it at once. */
function read(...objects: number[]): number[] {
  advised.length = 0;
  for (const object of objects) {
    ahead.opened(object);
    while (ahead.step());
  }
  return advised;
}

it('reads ahead from the third file of a sequence on, more each time, and each file once', () => {
  expect(read(10, 11)).toEqual([]);
  expect(read(12)).toEqual(range(13, 29));
  // More only when no more than a quarter of the next ones is left.
  expect(read(...range(13, 21))).toEqual([]);
  expect(read(21)).toEqual(range(29, 54));
  expect(read(...range(22, COUNT))).toEqual(range(54, COUNT));
});

it('has at most so many files read ahead of a reader', () => {
  let farthest = 0;
  for (let object = 0; object < COUNT; object++) {
    const last = Math.max(object, ...read(object));
    farthest = Math.max(farthest, last - object);
  }
  expect(farthest).toBe(LONGEST_RANGE);
});

it('reads nothing ahead of files that are picked from everywhere, or read backwards', () => {
  // One of sixteen, evenly and not.
  expect(read(...range(0, 60).map((i) => 16 * i))).toEqual([]);
  expect(read(...range(0, 60).map((i) => (i * 379) % COUNT))).toEqual([]);
  expect(read(...range(0, 200).toReversed())).toEqual([]);
  // The same one again and again.
  expect(read(...range(0, 50).map(() => 7))).toEqual([]);
});

it('passes over what a reader leaves out, and comes back to it after a sub-folder or a copy of an earlier file', () => {
  expect(read(10, 14, 17)).toEqual(range(18, 34));
  expect(read(500, 3)).toEqual([]);
  expect(read(...range(18, 31)).at(-1)).toBeGreaterThan(34);
});

it('follows whoever goes through folders to the next one at once, until files are picked from everywhere', () => {
  read(...range(0, 40));
  expect(read(500)).toEqual(range(501, 517));
  expect(read(41)).toEqual([]);
  for (const object of [600, 700, 800, 900, 300]) read(object);
  expect(read(200)).toEqual([]);
});

it('keeps several readers apart', () => {
  const readers = [0, 100, 200, 300];
  expect(read(...range(0, 2).flatMap((i) => readers.map((at) => at + i)))).toEqual([]);
  expect(read(2)).toEqual(range(3, 19));
  expect(read(302)).toEqual(range(303, 319));
});

it('leaves out what a faster reader has come to itself, and never goes beyond the last object', () => {
  for (const object of [5, 6, 7]) ahead.opened(object);
  expect(ahead.step()).toBe(true);
  for (const object of range(8, 20)) ahead.opened(object);
  expect(rest()[0]).toBe(20);
  for (const object of [997, 998, 999]) ahead.opened(object);
  expect(rest()).toEqual([]);
  expect(ahead.step()).toBe(false);
});

it('does not gather work without end when nobody lets it do any, as without a loop', () => {
  // Fifty readers begin, each with a range of sixteen; eight ranges wait.
  for (let at = 0; at < COUNT; at += 20) for (const object of range(at, at + 3)) ahead.opened(object);
  expect(rest()).toHaveLength(8 * 16);
});
