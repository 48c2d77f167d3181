/**
 * One pair of mounts, and as many sequences on it as there are work folders: mounting is slow, work folders are alike. Then both
 * are mounted again, and the subject's upper is mounted by kernel overlayfs; each time all work folders are compared.
 */
import { hasMachineIds } from '@layerfs/linux/initial-namespace';
import { Random } from '../operations/random.js';
import { Generator } from '../operations/generate.js';
import { learn } from '../operations/learn.js';
import { World } from '../operations/world.js';
import { Side } from '../operations/side.js';
import type { Operation } from '../operations/operation.js';
import { TOP } from '../lower/entries.js';
import { workFolder } from '../lower/lowers.js';
import type { Pair } from './pair.js';
import { count, type Tally } from './tally.js';
import { runSequence, type Failure, type Progress, type SequenceResult, type Source, type Stage } from './sequence.js';
import { isLinkCountOfLower } from './wanted.js';
import { brokenPromises, changedInos, compareTrees, readTree, type Tree } from './tree.js';

/** A sequence to run: made from a seed, or given. */
export type Task = { readonly seed: number; readonly length: number } | { readonly operations: readonly Operation[] };

function generated(seed: number, length: number, initial: ReadonlyMap<string, string>, tally: Tally): Source {
  const random = new Random(seed);
  const world = new World(initial, random);
  const generator = new Generator(random, world);
  let made = 0;
  return {
    next: () => (made++ < length ? generator.next() : undefined),
    learn(operation, outcome) {
      count(tally, operation, outcome);
      if (outcome.startsWith('ok')) learn(world, operation);
    },
  };
}

function listed(operations: readonly Operation[]): Source {
  let at = 0;
  return { next: () => operations[at++], learn: () => undefined };
}

/** Which fields a difference is about, so that a shrunk sequence shows the same one. */
function treeSignature(differences: readonly string[]): string {
  const [, expected = '', found = ''] = /expected: (.*)\n +found: +(.*)/s.exec(differences[0] ?? '') ?? [];
  const [a, b] = [expected.split(' '), found.split(' ')];
  if (expected.startsWith('does not') || found.startsWith('does not')) return `${a[0]}/${b[0]}`;
  const at = a.findIndex((field, index) => field !== b[index]);
  const field = a[at] ?? b[a.length] ?? '';
  // Names are not fields.
  return field.startsWith('"') ? 'same file' : field.replace(/=.*/s, '');
}

function treeFailure(stage: Stage, differences: readonly string[]): Failure | undefined {
  if (differences.length === 0) return undefined;
  return { stage, text: differences.join('\n  '), signature: treeSignature(differences) };
}

function promiseFailure(stage: Stage, broken: readonly string[]): Failure | undefined {
  if (broken.length === 0) return undefined;
  const signature = (broken[0] ?? '').replace(/^.*: (st_\w+).*/s, '$1');
  return { stage, text: broken.slice(0, 6).join('\n  '), signature };
}

/** A work folder in which something ran. */
export interface Running {
  result: SequenceResult;
  readonly work: string;
  /** As the subject shows it; undefined when there is nothing more to compare. */
  tree: Tree | undefined;
  /** Nothing was done on the reference: the folder is compared with itself as it was. */
  readonly alone?: boolean;
}

function fail(run: Running, failure: Failure | undefined): void {
  if (failure !== undefined && run.result.failure === undefined) run.result = { ...run.result, failure };
}

/** What a new work folder has, for the generator. */
export function initialWorld(root: string): Map<string, string> {
  const tree = readTree(root);
  return new Map([...tree].map(([path, entry]) => [path, entry.type]));
}

/** Runs the tasks, at most as many as there are work folders; `first` is the first of these folders. */
export function runTasks(
  pair: Pick<Pair, 'referenceRoot' | 'subjectRoot' | 'subject'>,
  tasks: readonly Task[],
  progress: (task: Task) => Progress,
  tally: Tally,
  first = 0,
): Running[] {
  const { promises } = pair.subject;
  const initial = initialWorld(`${pair.referenceRoot}/${workFolder(first)}/${TOP}`);
  return tasks.map((task, index): Running => {
    const work = workFolder(first + index);
    const [reference, subject] = [pair.referenceRoot, pair.subjectRoot].map((root) => `${root}/${work}`);
    const source = 'operations' in task ? listed(task.operations) : generated(task.seed, task.length, initial, tally);
    const [left, right] = [new Side(`${reference}/${TOP}`), new Side(`${subject}/${TOP}`)];
    const run: Running = { result: runSequence(left, right, source, promises, progress(task)), work, tree: undefined };
    if (run.result.failure !== undefined || run.result.ended !== undefined) return run;
    run.tree = readTree(subject);
    fail(run, treeFailure('tree', compareTrees(readTree(reference), run.tree)));
    fail(run, promiseFailure('invariant', brokenPromises(run.tree, promises)));
    return run;
  });
}

/** Those that are still the same. */
function intact(runs: readonly Running[]): Running[] {
  return runs.filter((run) => run.tree !== undefined && run.result.failure === undefined);
}

/** Mounts, or blames everybody: which of the sequences left something that cannot be mounted is not known here. */
function tryToMount(runs: readonly Running[], who: string, mount: () => void): boolean {
  try {
    mount();
    return true;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    for (const run of intact(runs)) fail(run, { stage: 'mounting again', text, signature: who });
    return false;
  }
}

/** Mounts again and by the kernel, and compares those that are still the same. */
export function compareMountedAgain(pair: Pair, runs: readonly Running[]): void {
  const { promises } = pair.subject;
  pair.unmount();
  if (!tryToMount(runs, pair.subject.name, () => pair.mount())) return;
  for (const run of intact(runs)) {
    const tree = readTree(`${pair.subjectRoot}/${run.work}`);
    const expected = run.alone === true ? run.tree : readTree(`${pair.referenceRoot}/${run.work}`);
    if (expected !== undefined) fail(run, treeFailure('remount', compareTrees(expected, tree)));
    fail(run, promiseFailure('remount', brokenPromises(tree, promises)));
    if (promises.stableIno && run.tree !== undefined) fail(run, promiseFailure('remount', changedInos(run.tree, tree)));
  }
  pair.unmount();
  // In a user namespace the kernel follows none of the marks for content that stays in the lower.
  if (!hasMachineIds()) return;
  if (!tryToMount(runs, 'upper by kernel', () => pair.mountUpperByKernel())) return;
  for (const run of intact(runs)) {
    if (run.tree === undefined) continue;
    const tree = readTree(`${pair.upperByKernelRoot}/${run.work}`);
    fail(run, treeFailure('upper by kernel', compareTrees(run.tree, tree, isLinkCountOfLower)));
  }
  pair.unmountUpper();
}

/** The whole round, on a pair that is not mounted yet and is removed afterwards. */
export function runRound(
  pair: Pair,
  tasks: readonly Task[],
  progress: (task: Task) => Progress,
  tally: Tally,
): SequenceResult[] {
  try {
    pair.mount();
    const runs = runTasks(pair, tasks, progress, tally);
    compareMountedAgain(pair, runs);
    return runs.map((run) => run.result);
  } finally {
    pair.remove();
  }
}

/** As {@link runRound}; when what the sequences left cannot be mounted, runs them again in halves to find those who did it. */
export function runRounds(
  newPair: () => Pair,
  tasks: readonly Task[],
  progress: (task: Task) => Progress,
  tally: Tally,
): SequenceResult[] {
  const results = runRound(newPair(), tasks, progress, tally);
  if (tasks.length === 1 || !results.some(({ failure }) => failure?.stage === 'mounting again')) return results;
  const middle = Math.ceil(tasks.length / 2);
  const halves = [tasks.slice(0, middle), tasks.slice(middle)];
  const found = halves.flatMap((half) => runRounds(newPair, half, progress, {}));
  // Should it take two of them, all are to blame.
  return found.some(({ failure }) => failure?.stage === 'mounting again') ? found : results;
}
