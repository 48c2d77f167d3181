/** Sorts the entries of one folder by name bytes. */
import type { Entries } from './entries.js';
import { compareNames, namePrefix } from './format.js';
import type { BytePool } from './pool.js';

/** Folders up to this size are sorted by insertion: most are small, and most tars come nearly sorted. */
const SMALL = 12;

/** Sorts `list[0, count)` (entry numbers of distinct names) in place. */
export function sortEntries(list: Uint32Array, count: number, entries: Entries, strings: BytePool): void {
  const bytes = strings.bytes;
  const compare = (a: number, b: number): number => {
    const nameA = entries.name(a);
    const nameB = entries.name(b);
    return compareNames(
      bytes,
      strings.start(nameA),
      strings.length(nameA),
      bytes,
      strings.start(nameB),
      strings.length(nameB),
    );
  };
  if (count <= SMALL) {
    insertionSort(list, 0, count, compare);
    return;
  }
  // Entries are listed newest first, so a tar in order gives a list in reverse order.
  list.subarray(0, count).reverse();
  let sorted = 1;
  while (sorted < count && compare(list[sorted - 1], list[sorted]) < 0) sorted++;
  if (sorted === count) return;
  // Four bytes of each name and its entry number in one 64-bit key: the engine sorts those natively, and only
  // names that share the four bytes are compared further, four bytes deeper.
  sortRun(list, 0, count, 0, compare, (entry, depth) => {
    const name = entries.name(entry);
    return namePrefix(bytes, strings.start(name) + depth, Math.max(0, strings.length(name) - depth));
  });
}

function sortRun(
  list: Uint32Array,
  start: number,
  end: number,
  depth: number,
  compare: (a: number, b: number) => number,
  prefix: (entry: number, depth: number) => number,
): void {
  if (end - start <= SMALL) {
    insertionSort(list, start, end, compare);
    return;
  }
  const keys = new BigUint64Array(end - start);
  const words = new Uint32Array(keys.buffer);
  for (let i = start; i < end; i++) {
    words[2 * (i - start)] = list[i];
    words[2 * (i - start) + 1] = prefix(list[i], depth);
  }
  keys.sort();
  for (let i = start; i < end; i++) list[i] = words[2 * (i - start)];
  for (let i = start; i < end;) {
    let next = i + 1;
    while (next < end && words[2 * (next - start) + 1] === words[2 * (i - start) + 1]) next++;
    // Names are distinct and hold no NUL, so a run of equal prefixes longer than one goes on deeper.
    if (next - i > 1) sortRun(list, i, next, depth + 4, compare, prefix);
    i = next;
  }
}

function insertionSort(list: Uint32Array, start: number, end: number, compare: (a: number, b: number) => number): void {
  for (let i = start + 1; i < end; i++) {
    const entry = list[i];
    let j = i - 1;
    for (; j >= start && compare(list[j], entry) > 0; j--) list[j + 1] = list[j];
    list[j + 1] = entry;
  }
}
