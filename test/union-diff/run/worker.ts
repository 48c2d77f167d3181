/** A process that runs rounds of sequences one after the other; `supervise.ts` starts it and watches that it goes on. */
import { openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { printOperation } from '../operations/operation.js';
import { WORK_FOLDERS } from '../lower/lowers.js';
import { CAPABLE } from '../subjects/kernel.js';
import { subjectNamed } from '../subjects/index.js';
import type { Lowers } from '../subjects/subject.js';
import { Evaluator } from './evaluator.js';
import { keyOf, roundMessage, type WorkerMessage } from './messages.js';
import { Pair } from './pair.js';
import { printReport } from './report.js';
import { runRounds, type Task } from './round.js';
import type { Progress, SequenceResult } from './sequence.js';
import type { Tally } from './tally.js';
import { shrink, type Shrunk } from './shrink.js';

export interface WorkerJob {
  readonly kind: 'worker';
  readonly subject: string;
  readonly lowers: Lowers;
  /** Its own, for mounts. */
  readonly folder: string;
  readonly name: string;
  readonly seeds: readonly number[];
  readonly length: number;
  /** At most so many different failures are shrunk and shown. */
  readonly reports: number;
  /** Shown with all operations. */
  readonly full: boolean;
  /** Where it says what it is about to do. */
  readonly progressFile: string;
}

/** Overwrites one line in a file: cheap enough for each operation. */
export function progressInto(path: string): (task: Task) => Progress {
  const fd = openSync(path, 'w');
  return (task) => {
    const which = 'seed' in task ? `seed ${String(task.seed)}` : 'a sequence being shrunk';
    return (side, index, operation) => {
      writeSync(fd, `${which}, operation ${String(index)} on the ${side}: ${printOperation(operation)}\n`, 0);
    };
  };
}

export class Worker {
  readonly #job: WorkerJob;
  readonly #send: (message: WorkerMessage) => void;
  readonly #progress: (task: Task) => Progress;
  readonly #known = new Set<string>();
  readonly #tally: Tally = {};
  #pairs = 0;

  constructor(job: WorkerJob, send: (message: WorkerMessage) => void) {
    this.#job = job;
    this.#send = send;
    this.#progress = progressInto(job.progressFile);
  }

  run(): void {
    const { seeds, length } = this.#job;
    for (let at = 0; at < seeds.length; at += WORK_FOLDERS) {
      const tasks = seeds.slice(at, at + WORK_FOLDERS).map((seed) => ({ seed, length }));
      const results = runRounds(() => this.#newPair(), tasks, this.#progress, this.#tally);
      this.#send(roundMessage(results, tasks.length));
      for (const [index, result] of results.entries()) this.#report(tasks[index].seed, result);
    }
    this.#send({ kind: 'tally', tally: this.#tally });
  }

  #newPair(): Pair {
    const { subject, lowers, folder, name } = this.#job;
    const number = String(this.#pairs++);
    return new Pair(subjectNamed(subject), lowers, join(folder, number), `${name}-${number}`);
  }

  #report(seed: number, { operations, failure }: SequenceResult): void {
    if (failure === undefined || this.#known.size >= this.#job.reports) return;
    const key = keyOf(failure);
    if (this.#known.has(key)) return;
    this.#known.add(key);
    const evaluator = new Evaluator(failure.stage, this.#progress, () => this.#newPair());
    let shrunk: Shrunk | undefined;
    try {
      shrunk = shrink(operations, failure, (sequences) => evaluator.run(sequences));
    } finally {
      evaluator.end();
    }
    const { subject, length, full } = this.#job;
    const mounts = `reference: kernel overlayfs ${CAPABLE}; subject: ${subject}; its upper by kernel: ${subjectNamed(subject).kernelOptions}`;
    const report = { seed, length, full, subject, mounts, operations, failure };
    this.#send({ kind: 'report', key, text: printReport(shrunk === undefined ? report : { ...report, shrunk }) });
  }
}
