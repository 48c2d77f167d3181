/** What child processes tell about their work. */
import type { Failure, SequenceResult } from './sequence.js';
import type { Tally } from './tally.js';

export interface RoundMessage {
  readonly kind: 'round';
  readonly sequences: number;
  readonly operations: number;
  /** A key for each failure; see {@link keyOf}. */
  readonly failures: readonly string[];
  /** Of sequences that ended early without a failure: why. */
  readonly ended: readonly string[];
}

export type WorkerMessage =
  | RoundMessage
  | { readonly kind: 'tally'; readonly tally: Tally }
  | { readonly kind: 'report'; readonly key: string; readonly text: string };

/** Equal for failures that are probably the same one. */
export function keyOf(failure: Failure): string {
  return `${failure.stage}: ${failure.signature}`;
}

export function roundMessage(results: readonly SequenceResult[], sequences: number): RoundMessage {
  return {
    kind: 'round',
    sequences,
    operations: results.reduce((sum, result) => sum + result.operations.length, 0),
    failures: results.flatMap(({ failure }) => (failure === undefined ? [] : [keyOf(failure)])),
    ended: results.flatMap(({ ended }) => (ended === undefined ? [] : [ended])),
  };
}
