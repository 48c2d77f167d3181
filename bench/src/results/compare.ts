/** What changed between two results files beyond noise. */
import { costRatio, median, type Figure } from '../harness/figure.js';
import { leastProbability, rankTest } from './rank-test.js';
import type { Results } from './results.js';

/** A change is believed when chance alone makes one like it less often than this, */
const PROBABILITY = 0.01;
/** and reported when it is larger than this. */
const SMALLEST = 0.05;

/** A figure of ours in two files. */
export interface Change {
  readonly figure: Figure;
  /** How many times as much it costs now: above 1 is worse. */
  readonly ratio: number;
  readonly probability: number;
  /** Whether peers and limits of the same comparison were taken as the measure of how fast the machine was. */
  readonly controlled: boolean;
}

/** The outcome. */
export interface Comparison {
  readonly worse: readonly Change[];
  readonly better: readonly Change[];
  /** Compared, and not beyond noise. */
  readonly same: number;
  /** Too few rounds to tell anything. */
  readonly untold: number;
  /** In one of the files only. */
  readonly unmatched: number;
}

/**
 * Compares our figures. Each round is divided by what the peers and limits took in the same round, where there are
 * any: so a machine that is slower today changes nothing. Then the rounds of both files are put to the Mann-Whitney test.
 */
export function compareResults(base: Results, now: Results): Comparison {
  const before = new Map(ours(base).map((figure) => [keyOf(figure), figure]));
  const after = ours(now);
  const changes: Change[] = [];
  let [untold, unmatched] = [0, 0];
  for (const figure of after) {
    const old = before.get(keyOf(figure));
    before.delete(keyOf(figure));
    if (old === undefined) unmatched++;
    else if (leastProbability(old.values.length, figure.values.length) > PROBABILITY) untold++;
    else changes.push(changeOf(base, now, old, figure));
  }
  const told = changes.filter(
    ({ ratio, probability }) => probability <= PROBABILITY && Math.max(ratio, 1 / ratio) > 1 + SMALLEST,
  );
  return {
    worse: told.filter(({ ratio }) => ratio > 1).toSorted((a, b) => b.ratio - a.ratio),
    better: told.filter(({ ratio }) => ratio < 1).toSorted((a, b) => a.ratio - b.ratio),
    same: changes.length - told.length,
    untold,
    unmatched: unmatched + before.size,
  };
}

function ours({ figures }: Results): Figure[] {
  return figures.filter(({ kind }) => kind === 'ours');
}

function place({ benchmark, title, at }: Figure): string {
  return JSON.stringify([benchmark, title, at?.value]);
}

function keyOf(figure: Figure): string {
  return JSON.stringify([place(figure), figure.subject]);
}

function changeOf(base: Results, now: Results, old: Figure, figure: Figure): Change {
  const names = new Set(controls(base, old).map(({ subject }) => subject));
  const shared = controls(now, figure).filter(({ subject }) => names.has(subject));
  const subjects = new Set(shared.map(({ subject }) => subject));
  const [a, b] = [relative(base, old, subjects), relative(now, figure, subjects)];
  return {
    figure,
    ratio: costRatio(median(b), median(a), figure.unit),
    probability: rankTest(a, b),
    controlled: subjects.size > 0,
  };
}

/** What others took in the same rounds. */
function controls(results: Results, figure: Figure): Figure[] {
  return results.figures.filter(
    (other) => other.kind !== 'ours' && place(other) === place(figure) && other.values.length === figure.values.length,
  );
}

/** Each round divided by the geometric mean of the controls in it. */
function relative(results: Results, figure: Figure, subjects: ReadonlySet<string>): number[] {
  const others = controls(results, figure).filter(({ subject }) => subjects.has(subject));
  return figure.values.map((value, round) => {
    const logs = others.map(({ values }) => Math.log(values[round]));
    const mean = logs.reduce((sum, log) => sum + log, 0) / Math.max(1, logs.length);
    return value / Math.exp(mean);
  });
}

/** For people. */
export function comparisonText(base: Results, now: Results): string {
  const { worse, better, same, untold, unmatched } = compareResults(base, now);
  const lines = [
    `compared with ${base.date} (commit ${base.machine.commit}): each round relative to the peers and limits of the same round,`,
    `Mann-Whitney test, probability at most ${PROBABILITY}, changes above ${SMALLEST * 100} %`,
  ];
  for (const field of ['cpu', 'cores', 'kernel', 'node'] as const) {
    const [then, today] = [base.machine[field], now.machine[field]];
    if (then !== today) lines.push(`warning: another ${field}: ${String(then)} then, ${String(today)} now`);
  }
  if (base.quick !== now.quick) lines.push('warning: one of the runs was a quick one');
  const line = (word: string, { figure, ratio, probability, controlled }: Change): string => {
    const at = figure.at === undefined ? '' : `, ${figure.at.value} ${figure.at.axis}`;
    const percent = `${ratio > 1 ? '+' : ''}${((ratio - 1) * 100).toFixed(0)} %`;
    const alone = controlled ? '' : ', nothing beside it to compare with';
    return `${word} ${percent.padStart(7)}  ${figure.benchmark}: ${figure.title}${at}: ${figure.subject} (p ${probability.toFixed(4)}${alone})`;
  };
  for (const change of worse) lines.push(line('worse ', change));
  for (const change of better) lines.push(line('better', change));
  lines.push(
    `${worse.length} worse, ${better.length} better, ${same} not beyond noise, ` +
      `${untold} with too few rounds to tell (5 are needed), ${unmatched} in one file only`,
  );
  return lines.join('\n');
}
