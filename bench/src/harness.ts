/** Interleaved rounds, medians and tables. Ratios in one run hold where absolute times wander. */

import { turn } from './release.js';

/** Something whose time is measured: A B A B, never all rounds of one after the other. */
export interface Subject {
  readonly name: string;
  /** Milliseconds of one round, or figures by name. */
  readonly run: () => Promise<number> | number;
}

/** The figures of one subject. */
export interface Figure {
  readonly benchmark: string;
  readonly subject: string;
  readonly unit: string;
  readonly median: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly rounds: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A figure that was taken once. */
export function oneFigure(benchmark: string, subject: string, unit: string, value: number): Figure {
  return { benchmark, subject, unit, median: value, minimum: value, maximum: value, rounds: 1 };
}

/** Runs all subjects `rounds` times, in turn. */
export async function compare(
  benchmark: string,
  subjects: readonly Subject[],
  rounds: number,
  unit = 'ms',
): Promise<Figure[]> {
  const values = subjects.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, subject] of subjects.entries()) {
      await turn();
      values[i].push(await subject.run());
    }
  }
  return subjects.map((subject, i) => ({
    benchmark,
    subject: subject.name,
    unit,
    median: median(values[i]),
    minimum: Math.min(...values[i]),
    maximum: Math.max(...values[i]),
    rounds,
  }));
}

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/**
 * A table of one benchmark. The last column compares each subject with layerfs: 2.0 means that the subject takes twice as
 * much of whatever is measured.
 */
export function formatTable(figures: readonly Figure[]): string {
  const ours = figures.find((figure) => figure.subject.startsWith('layerfs'));
  const rows = [['', 'median', 'min', 'max', 'unit', '/ layerfs']];
  for (const figure of figures) {
    rows.push([
      figure.subject,
      number(figure.median),
      number(figure.minimum),
      number(figure.maximum),
      figure.unit,
      ours === undefined ? '' : (figure.median / ours.median).toFixed(2),
    ]);
  }
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows
    .map((row) =>
      row.map((cell, i) => (i === 0 || i === 4 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '),
    )
    .join('\n');
}
