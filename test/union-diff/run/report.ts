/** What a person is told of a failure. */
import { printOperation, type Operation } from '../operations/operation.js';
import type { Failure } from './sequence.js';

export interface Report {
  readonly seed: number;
  readonly length: number;
  readonly subject: string;
  readonly mounts: string;
  readonly operations: readonly Operation[];
  readonly failure: Failure;
  /** Print the whole sequence as well as the smallest. */
  readonly full?: boolean;
  /** Others were at work at the same time: nothing was shrunk. */
  readonly concurrent?: boolean;
  /** The smallest sequence found; none when the list did not fail again. */
  readonly shrunk?: { readonly operations: readonly Operation[]; readonly failure: Failure };
}

function listing(operations: readonly Operation[]): string[] {
  return operations.map((operation, index) => `  ${String(index).padStart(3)}  ${printOperation(operation)}`);
}

function describe(failure: Failure, operations: readonly Operation[]): string[] {
  const at = failure.stage === 'operation' || failure.stage === 'inode number';
  const where = at ? ` ${String(operations.length - 1)}` : '';
  return [`${failure.stage}${where} (${failure.signature}):`, `  ${failure.text}`];
}

/** Names and values of hundreds of equal letters, as `z{255}`. */
function abbreviate(text: string): string {
  return text.replace(/(\w)\1{19,}/g, (all, letter: string) => `${letter}{${String(all.length)}}`);
}

export function printReport(report: Report): string {
  const { seed, length, subject, operations, failure, shrunk } = report;
  const lines = [
    `DIFFERENCE, reproduce with SUBJECT=${subject} SEED=${String(seed)} SEQUENCES=1 LENGTH=${String(length)}` +
      (report.concurrent === true ? ', or with --concurrent and the seed below' : ''),
    report.mounts,
    ...describe(failure, operations),
  ];
  if (shrunk === undefined) {
    const why = report.concurrent === true ? '' : ' (did not fail again when run as a list)';
    lines.push(`operations${why}:`, ...listing(operations));
  } else {
    if (report.full === true) lines.push('operations:', ...listing(operations));
    lines.push(`shrunk from ${String(operations.length)} operations:`, ...listing(shrunk.operations));
    lines.push(...describe(shrunk.failure, shrunk.operations));
  }
  return abbreviate(lines.join('\n'));
}
