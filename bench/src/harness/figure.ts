/** What was measured, and the arithmetic of it. */

/** Whose figure it is: ours, somebody else's, or what no union filesystem can be better than (a plain folder, the object itself). */
export type Kind = 'ours' | 'peer' | 'limit';

/** Where on a curve a figure lies. */
export interface Place {
  readonly axis: string;
  readonly value: number;
}

/** All rounds of one subject in one comparison. */
export interface Figure {
  /** The benchmark's name, as it is asked for. */
  readonly benchmark: string;
  /** What was done. */
  readonly title: string;
  readonly subject: string;
  readonly kind: Kind;
  /** More is better where it ends in `/s`, else less. */
  readonly unit: string;
  /** One for each round, in order: the same round of two subjects ran one after the other. */
  readonly values: readonly number[];
  /** On curves. */
  readonly at?: Place;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function moreIsBetter(unit: string): boolean {
  return unit.endsWith('/s');
}

/** How many times as much `value` costs as `base`: above 1 is worse, whatever the unit. */
export function costRatio(value: number, base: number, unit: string): number {
  return moreIsBetter(unit) ? base / value : value / base;
}

/** The best median among some figures; undefined without any. */
export function best(figures: readonly Figure[]): number | undefined {
  if (figures.length === 0) return undefined;
  const medians = figures.map((figure) => median(figure.values));
  return moreIsBetter(figures[0].unit) ? Math.max(...medians) : Math.min(...medians);
}

/** Three digits that count. */
export function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 10_000) return Math.round(value).toLocaleString('en-US');
  return size >= 100 || value === 0 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}
