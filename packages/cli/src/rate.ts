/** The time over which a rate is taken, in milliseconds. */
const WINDOW = 5000;
/** Before that it says too little. */
const FIRST = 500;

/** How fast something grows: over the last seconds, so that a pause shows soon and a burst does not. */
export class Rate {
  readonly #seen: { readonly done: number; readonly at: number }[] = [];

  /** @param done what is there at the beginning does not count @param at milliseconds */
  constructor(done: number, at: number) {
    this.#seen.push({ done, at });
  }

  /** Takes in how much there is at a time. */
  seen(done: number, at: number): void {
    const last = this.#seen[this.#seen.length - 1];
    // It began anew.
    if (done < last.done) this.#seen.length = 0;
    else if (at - last.at < WINDOW / 50) return;
    this.#seen.push({ done, at });
    while (this.#seen.length > 2 && at - this.#seen[1].at >= WINDOW) this.#seen.shift();
  }

  /** 0 as long as it is not known. */
  perSecond(): number {
    const [first, last] = [this.#seen[0], this.#seen[this.#seen.length - 1]];
    const time = last.at - first.at;
    return time < FIRST ? 0 : ((last.done - first.done) / time) * 1000;
  }
}
