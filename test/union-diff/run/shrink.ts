/** Drops operations from a failing sequence as long as it fails in the same way. */
import type { Operation } from '../operations/operation.js';
import type { Failure, SequenceResult } from './sequence.js';

/** Runs several sequences, each in a fresh work folder. */
export type Evaluate = (sequences: readonly (readonly Operation[])[]) => SequenceResult[];

export interface Shrunk {
  readonly operations: readonly Operation[];
  readonly failure: Failure;
}

function isSame(result: SequenceResult, failure: Failure): boolean {
  return result.failure?.stage === failure.stage && result.failure.signature === failure.signature;
}

/** The first sequence that fails as wanted, and no more of it than was run. */
function firstFailing(results: readonly SequenceResult[], failure: Failure): Shrunk | undefined {
  for (const result of results) {
    if (result.failure !== undefined && isSame(result, failure)) {
      return { operations: result.operations, failure: result.failure };
    }
  }
  return undefined;
}

/** @returns undefined when the list of operations does not fail when it is run again */
export function shrink(operations: readonly Operation[], failure: Failure, evaluate: Evaluate): Shrunk | undefined {
  let best = firstFailing(evaluate([operations]), failure);
  if (best === undefined) return undefined;
  for (let size = Math.ceil(best.operations.length / 2); size >= 1;) {
    const all: readonly Operation[] = best.operations;
    const starts = Array.from({ length: Math.ceil(all.length / size) }, (_, index) => index * size);
    const without = (dropped: readonly number[]): Operation[] =>
      all.filter((_, index) => !dropped.some((start) => index >= start && index < start + size));
    const results = evaluate(starts.map((start) => without([start])));
    const droppable = starts.filter((_, index) => isSame(results[index], failure));
    // What can be dropped one by one can mostly be dropped together.
    const together = [1, 2, 4].map((part) => without(droppable.slice(0, Math.ceil(droppable.length / part))));
    const found: Shrunk | undefined = droppable.length > 1 ? firstFailing(evaluate(together), failure) : undefined;
    const better = found ?? firstFailing(results, failure);
    if (better !== undefined && better.operations.length < all.length) best = better;
    else if (size === 1) break;
    else size = Math.ceil(size / 2);
  }
  return best;
}
