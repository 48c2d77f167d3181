import { setTimeout as sleep } from 'node:timers/promises';
import { LayerfsError } from '../core/error.js';
import { Fault, settled } from './fault.js';

/** How often, and after how long, something is tried again. Times in milliseconds. */
export interface RetryOptions {
  /** Tries in a row without any progress. */
  readonly tries: number;
  /** The first wait; each further one is twice as long. */
  readonly first: number;
  readonly longest: number;
  /** Servers that ask for a longer wait are not waited for. */
  readonly patience: number;
}

export const RETRY: RetryOptions = { tries: 6, first: 300, longest: 8000, patience: 120_000 };

/** Counts failures in a row, and waits between them. */
export class Backoff {
  readonly #options: RetryOptions;
  #failures = 0;

  constructor(options: RetryOptions) {
    this.#options = options;
  }

  /** There was progress: what fails from now on is a new row of failures. */
  reset(): void {
    this.#failures = 0;
  }

  /** Waits before the next try. @throws the error as users get it where there is to be none */
  async wait(error: unknown, signal: AbortSignal | undefined): Promise<void> {
    const { tries, first, longest, patience } = this.#options;
    this.#failures++;
    if (!(error instanceof Fault) || this.#failures >= tries || (error.wait ?? 0) > patience) throw settled(error);
    // Many clients that a server turned away together should not come back together.
    const own = Math.min(longest, first * 2 ** (this.#failures - 1)) * (0.5 + Math.random() / 2);
    try {
      await sleep(Math.max(own, error.wait ?? 0), undefined, signal === undefined ? {} : { signal });
    } catch (aborted) {
      throw new LayerfsError('aborted', 'interrupted', { cause: aborted });
    }
  }
}
