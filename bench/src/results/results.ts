/** Results files: the machine's facts and every round of every figure. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Figure } from '../harness/figure.js';
import type { Note } from '../harness/note.js';
import type { Machine } from './machine.js';

const FORMAT = 1;

/** What a results file holds. */
export interface Results {
  readonly format: typeof FORMAT;
  /** ISO 8601, when the run began. */
  readonly date: string;
  /** What was typed. */
  readonly command: string;
  /** Small data: to be compared with other quick runs only. */
  readonly quick: boolean;
  readonly machine: Machine;
  readonly figures: readonly Figure[];
  /** What has to be known about some tables; older files have none, nor what follows. */
  readonly notes?: readonly Note[];
  /** What each benchmark took, data included. */
  readonly seconds?: Readonly<Record<string, number>>;
  /** The runs that a merged file was made of. */
  readonly parts?: readonly Part[];
}

/** One run of a merged file. */
export type Part = Pick<Results, 'date' | 'command' | 'machine'> & { readonly benchmarks: readonly string[] };

export function makeResults(parts: Omit<Results, 'format'>): Results {
  return { format: FORMAT, ...parts };
}

export function writeResults(file: string, results: Results): void {
  mkdirSync(dirname(file), { recursive: true });
  // A figure a line: what changed is seen in a diff.
  const { figures, notes, ...others } = results;
  const rest = { ...others, ...(notes === undefined || notes.length === 0 ? {} : { notes }) };
  const head = JSON.stringify(rest, undefined, 2).replace(/\n\}$/, '');
  const lines = figures.map((figure) => `    ${JSON.stringify(rounded(figure))}`);
  writeFileSync(file, `${head},\n  "figures": [\n${lines.join(',\n')}\n  ]\n}\n`);
}

/** Five digits are more than any of them is worth. */
function rounded(figure: Figure): Figure {
  return { ...figure, values: figure.values.map((value) => Number(value.toPrecision(5))) };
}

/** @throws Error with a sentence when it is no such file */
export function readResults(file: string): Results {
  const results = JSON.parse(readFileSync(file, 'utf8')) as Results;
  if (results.format !== FORMAT || !Array.isArray(results.figures)) throw new Error(`${file} is no results file`);
  return results;
}

/**
 * Makes one of the runs of several parts, which may be of several days and builds. What is in more than one is taken from the
 * last that has it. The date and the facts of the machine are the last's; each part keeps
 * its own.
 * @throws Error with a sentence when quick runs and others are mixed
 */
export function mergeResults(parts: readonly Results[]): Results {
  const [first] = parts;
  if (parts.length === 1) return first;
  if (parts.some(({ quick }) => quick !== first.quick)) throw new Error('quick runs and others are not to be mixed');
  // A later part has the benchmark whole: of an earlier one nothing of it is kept.
  const last = new Map(parts.flatMap((part, i) => benchmarksOf(part).map((name) => [name, i])));
  const names = [...last.keys()];
  const kept = parts.filter((_, i) => [...last.values()].includes(i));
  const newest = kept.at(-1) ?? first;
  if (kept.length < 2) return newest;
  const of = <T extends { readonly benchmark: string }>(pick: (part: Results) => readonly T[]): T[] =>
    names.flatMap((name) => pick(parts[last.get(name) ?? 0]).filter(({ benchmark }) => benchmark === name));
  const seconds = names.flatMap((name) => {
    const took = parts[last.get(name) ?? 0].seconds?.[name];
    return took === undefined ? [] : [[name, took] as const];
  });
  const { machine, quick } = first;
  const date =
    parts
      .map((part) => part.date)
      .toSorted()
      .at(-1) ?? first.date;
  return makeResults({
    date,
    command: 'several runs',
    quick,
    machine,
    figures: of(({ figures }) => figures),
    notes: of(({ notes }) => notes ?? []),
    seconds: Object.fromEntries(seconds),
    parts: parts.flatMap((part, i) => runsOf(part, (name) => last.get(name) === i)),
  });
}

function benchmarksOf({ figures }: Results): string[] {
  return [...new Set(figures.map(({ benchmark }) => benchmark))];
}

/** A file that was merged itself has several. */
function runsOf(results: Results, kept: (benchmark: string) => boolean): Part[] {
  const { date, command, machine } = results;
  const runs = results.parts ?? [{ date, command, machine, benchmarks: benchmarksOf(results) }];
  return runs
    .map((part) => ({ ...part, benchmarks: part.benchmarks.filter(kept) }))
    .filter(({ benchmarks }) => benchmarks.length > 0);
}
