/** Owners on disk and owners shown: the lists of options uidmapping and gidmapping. */

/** A run of ids: `count` of them from `inside` (as on disk) are shown from `outside`. */
export interface IdRange {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** What is shown for an id that no range has, as the kernel does (/proc/sys/kernel/overflowuid). */
export const OVERFLOW_ID = 65534;
/** Ids are 32 bits, and the last one means "no change" to chown(2). */
const END = 2 ** 32 - 1;

/**
 * Reads `inside:outside:count` triples, all separated by colons. Empty fields are skipped, as strtok(3) does:
 * podman writes a leading colon.
 * @returns ranges in the order given, or what is wrong
 */
export function parseIdRanges(text: string): readonly IdRange[] | { readonly problem: string } {
  const fields = text.split(':').filter((field) => field !== '');
  if (fields.length === 0 || fields.length % 3 !== 0) return { problem: 'is not a list of inside:outside:count' };
  const numbers: number[] = [];
  for (const field of fields) {
    const number = Number(field);
    if (!/^\d+$/.test(field) || number > END) return { problem: `has ${JSON.stringify(field)} where a number belongs` };
    numbers.push(number);
  }
  const ranges: IdRange[] = [];
  for (let i = 0; i < numbers.length; i += 3) {
    const [inside, outside, count] = numbers.slice(i, i + 3);
    if (inside + count > END || outside + count > END) return { problem: 'goes beyond the largest id' };
    // An empty range maps nothing.
    if (count > 0) ranges.push({ inside, outside, count });
  }
  if (overlap(ranges.map(({ inside, count }) => [inside, count]))) return { problem: 'maps an inside id twice' };
  if (overlap(ranges.map(({ outside, count }) => [outside, count]))) return { problem: 'maps two ids to one' };
  return ranges;
}

/** Maps ids both ways. Without ranges all ids are what they are. */
export class IdMap {
  readonly #shown: (id: number) => number;
  readonly #stored: (id: number) => number;

  /** @param squash shown for every id; what is stored does not depend on it */
  constructor(ranges: readonly IdRange[] | undefined, squash?: number) {
    const same = (id: number): number => id;
    this.#stored = ranges === undefined ? same : mapper(ranges, 'outside', 'inside');
    if (squash !== undefined) this.#shown = () => squash;
    else this.#shown = ranges === undefined ? same : mapper(ranges, 'inside', 'outside');
  }

  /** What stat(2) shows for an id on disk. */
  shown(id: number): number {
    return this.#shown(id);
  }

  /** What is written to disk for an id that a caller has or gives. */
  stored(id: number): number {
    return this.#stored(id);
  }
}

function overlap(ranges: (readonly [start: number, count: number])[]): boolean {
  const sorted = ranges.toSorted(([a], [b]) => a - b);
  return sorted.some(([start, count], i) => i + 1 < sorted.length && start + count > sorted[i + 1][0]);
}

function mapper(
  ranges: readonly IdRange[],
  from: 'inside' | 'outside',
  to: 'inside' | 'outside',
): (id: number) => number {
  const sorted = ranges.toSorted((a, b) => a[from] - b[from]);
  return (id) => {
    // The number of ranges that begin at or before it.
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sorted[middle][from] <= id) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return OVERFLOW_ID;
    const range = sorted[low - 1];
    const offset = id - range[from];
    return offset < range.count ? range[to] + offset : OVERFLOW_ID;
  };
}
