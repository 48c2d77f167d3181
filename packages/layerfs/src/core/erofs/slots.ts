/** Finds places for inodes: the first pass of writing an image, repeated by the second, which so needs no list of gaps. */
import { BLOCK_SIZE, SLOT } from './format.js';

/** What is written at a time. No inode lies in two windows, and gaps are filled within one: so one is all that is in memory. */
export const WINDOW = 1 << 20;

const MAX_GAPS = 32;

/**
 * Gives out places from low to high. What must lie within one block leaves a gap before it where it would not; the next inodes
 * that fit go there.
 */
export class Slots {
  #end: number;
  /** Gaps of this window, each within a block: where they begin, and end. */
  readonly #gaps: { from: number; to: number }[] = [];

  /** @param start a multiple of 32 */
  constructor(start: number) {
    this.#end = start;
  }

  /** Where the next inode would go if nothing before it was left free. */
  get end(): number {
    return this.#end;
  }

  /**
   * @param size bytes, at most a window, and a block when `whole`
   * @param whole it must lie within one block
   * @returns the offset, a multiple of 32
   */
  place(size: number, whole: boolean): number {
    const room = Math.ceil(size / SLOT) * SLOT;
    const gap = this.#gaps.findIndex(({ from, to }) => from + room <= to);
    if (gap >= 0) return this.#fill(gap, room);
    const boundary = whole ? BLOCK_SIZE : WINDOW;
    const left = boundary - (this.#end % boundary);
    if (left < room) {
      const from = this.#end;
      this.#end += left;
      if (whole) this.#gaps.push({ from, to: this.#end });
      if (this.#gaps.length > MAX_GAPS) this.#gaps.shift();
      if (this.#end % WINDOW === 0) this.#gaps.length = 0;
    }
    const offset = this.#end;
    this.#end += room;
    if (this.#end % WINDOW === 0) this.#gaps.length = 0;
    return offset;
  }

  #fill(index: number, room: number): number {
    const gap = this.#gaps[index];
    const offset = gap.from;
    gap.from += room;
    if (gap.from === gap.to) this.#gaps.splice(index, 1);
    return offset;
  }
}
