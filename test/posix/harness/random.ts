/** Pseudo-random choices that a seed repeats (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed, 0x9e3779b1) >>> 0;
  }

  /** Below `end`. */
  below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % end;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  /** Letters that tell where they come from. */
  text(length: number): string {
    return String.fromCharCode(97 + this.below(26)).repeat(length);
  }
}

/** How many random runs of each kind: more with LAYERFS_POSIX_SEEDS, for a long search. */
export const SEEDS = Array.from({ length: Number(process.env['LAYERFS_POSIX_SEEDS'] ?? 8) }, (_, i) => i + 1);
