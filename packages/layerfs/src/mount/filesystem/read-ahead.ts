/**
 * Reading ahead over files. The kernel reads ahead within a file; most files of an image are smaller than what it would read at
 * once, so that whoever goes through many waits for the disk, and for us to open it, at each. Here the next ones are opened,
 * and the kernel is asked to read them, while nobody waits for an answer.
 */

/** So many readers, each going through files of its own, are told apart. */
const READERS = 16;
/** A file that lies so far behind the last one continues a sequence: some are passed over, or are read by another process. */
const NEAR = 4;
/** A sequence has so many files: of some that are picked from everywhere, two are near by chance. */
const BEGINNING = 3;
/** Where nearly all files continue sequences, the next one begins at once: somebody goes through folders. From 0 to so much, … */
const STEADIEST = 32;
const STEADY = 16;
/** … by one more for a file that continues a sequence, and so much less for one that does not. */
const JUMP = 4;
/** How many files are read ahead at first and at most; twice as many each time. */
const FIRST_RANGE = 16;
export const LONGEST_RANGE = 128;
/** How many ranges can wait. */
const RANGES = 8;

/** Files that were read one after the other. */
interface Sequence {
  /** The last one. */
  last: number;
  /** How many. */
  length: number;
  /** Those before it were read ahead. */
  ahead: number;
  /** How many are read ahead the next time. */
  range: number;
}

/**
 * What one mount reads ahead. Objects are numbered as the files of a tree that have them, which are numbered folder by folder: whoever
 * goes through a folder goes through them in this order.
 */
export class ReadAhead {
  readonly #advise: (object: number) => void;
  readonly #count: number;
  /** The one that went on last comes first. */
  readonly #sequences: Sequence[] = [];
  #steadiness = 0;
  /** Objects to read ahead: from the next one up to, not with, the end. */
  readonly #waiting: { next: number; readonly end: number }[] = [];

  /**
   * @param count how many objects there are
   * @param advise has the kernel begin to read one, by index, and does not wait for it
   */
  constructor(count: number, advise: (object: number) => void) {
    this.#advise = advise;
    this.#count = count;
  }

  /** An object was opened. */
  opened(object: number): void {
    const sequence = this.#find(object);
    if (sequence.length > 0) {
      if (object === sequence.last) return;
      this.#steadiness = Math.min(STEADIEST, this.#steadiness + 1);
    } else {
      this.#steadiness = Math.max(0, this.#steadiness - JUMP);
      if (this.#steadiness >= STEADY) sequence.length = BEGINNING;
    }
    sequence.last = object;
    sequence.length++;
    // Whoever reads has come there before us.
    for (const range of this.#waiting) if (object >= range.next && object < range.end) range.next = object + 1;
    if (sequence.length < BEGINNING) return;
    if (sequence.ahead - object > sequence.range / 4 || this.#waiting.length === RANGES) return;
    const next = Math.max(sequence.ahead, object + 1);
    const end = Math.min(this.#count, object + 1 + sequence.range);
    sequence.range = Math.min(LONGEST_RANGE, sequence.range * 2);
    if (end <= next) return;
    sequence.ahead = end;
    this.#waiting.push({ next, end });
  }

  /** Reads one object ahead: some 10 microseconds. @returns whether there are more */
  step(): boolean {
    const [first] = this.#waiting;
    if (first === undefined) return false;
    if (first.next < first.end) this.#advise(first.next++);
    if (first.next >= first.end) this.#waiting.shift();
    return this.#waiting.length > 0;
  }

  /** The sequence that an object continues, now the first; or an empty one. */
  #find(object: number): Sequence {
    const all = this.#sequences;
    const at = all.findIndex(({ last }) => object >= last && object - last <= NEAR);
    if (at === 0) return all[0];
    const [sequence] = at < 0 ? [{ last: object, length: 0, ahead: 0, range: FIRST_RANGE }] : all.splice(at, 1);
    if (all.length === READERS) all.pop();
    all.unshift(sequence);
    return sequence;
  }
}
