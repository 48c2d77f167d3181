/** Runs the many sequences that shrinking tries, with as few mounts as their kind of failure allows. */
import { WORK_FOLDERS } from '../lower/lowers.js';
import type { Operation } from '../operations/operation.js';
import type { Pair } from './pair.js';
import { runRound, runTasks, type Task } from './round.js';
import type { Progress, SequenceResult, Stage } from './sequence.js';

/** What shows only when mounted again takes a pair of mounts for each batch; the rest only a fresh work folder. */
const NEEDS_REMOUNT = new Set<Stage>(['remount', 'upper by kernel', 'mounting again']);

export class Evaluator {
  readonly #stage: Stage;
  readonly #progress: (task: Task) => Progress;
  readonly #newPair: () => Pair;
  #pair: Pair | undefined;
  /** Work folders of the pair that have been used. */
  #used = 0;

  constructor(stage: Stage, progress: (task: Task) => Progress, newPair: () => Pair) {
    this.#stage = stage;
    this.#progress = progress;
    this.#newPair = newPair;
  }

  run(sequences: readonly (readonly Operation[])[]): SequenceResult[] {
    const results: SequenceResult[] = [];
    while (results.length < sequences.length) {
      const rest = sequences.slice(results.length).map((operations) => ({ operations }));
      results.push(...(NEEDS_REMOUNT.has(this.#stage) ? this.#round(rest) : this.#inPlace(rest)));
    }
    return results;
  }

  #round(tasks: readonly Task[]): SequenceResult[] {
    // Whose fault it is that nothing can be mounted shows only when nobody else was there.
    const most = this.#stage === 'mounting again' ? 1 : WORK_FOLDERS;
    return runRound(this.#newPair(), tasks.slice(0, most), this.#progress, {});
  }

  #inPlace(tasks: readonly Task[]): SequenceResult[] {
    if (this.#used === WORK_FOLDERS) this.end();
    if (this.#pair === undefined) {
      this.#pair = this.#newPair();
      this.#pair.mount();
    }
    const first = this.#used;
    const now = tasks.slice(0, WORK_FOLDERS - first);
    this.#used += now.length;
    return runTasks(this.#pair, now, this.#progress, {}, first).map((run) => run.result);
  }

  end(): void {
    this.#pair?.remove();
    this.#pair = undefined;
    this.#used = 0;
  }
}
