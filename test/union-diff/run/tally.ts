/** Counts what came of operations: a tester whose operations all miss finds nothing. */
import type { Operation } from '../operations/operation.js';

export type Tally = Record<string, Record<string, number>>;

export function count(tally: Tally, operation: Operation, outcome: string): void {
  const ofKind = (tally[operation.kind] ??= {});
  const [word] = outcome.split(' ', 1);
  ofKind[word] = (ofKind[word] ?? 0) + 1;
}

export function addTally(to: Tally, more: Tally): void {
  for (const [kind, outcomes] of Object.entries(more)) {
    const ofKind = (to[kind] ??= {});
    for (const [word, n] of Object.entries(outcomes)) ofKind[word] = (ofKind[word] ?? 0) + n;
  }
}

/** A line for each kind of operation: `rename  ok 51%  ENOENT 20%  …`. */
export function printTally(tally: Tally): string {
  const lines = Object.entries(tally)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([kind, outcomes]) => {
      const total = Object.values(outcomes).reduce((sum, n) => sum + n, 0);
      const shares = Object.entries(outcomes)
        .toSorted((a, b) => b[1] - a[1])
        .map(([word, n]) => `${word} ${((100 * n) / total).toFixed(1)}%`);
      return `${kind.padEnd(12)} ${String(total).padStart(8)}  ${shares.join('  ')}`;
    });
  return lines.join('\n');
}
