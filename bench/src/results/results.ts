/** Results files: the machine's facts and every round of every figure. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Figure } from '../harness/figure.js';
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
}

export function makeResults(parts: Omit<Results, 'format'>): Results {
  return { format: FORMAT, ...parts };
}

export function writeResults(file: string, results: Results): void {
  mkdirSync(dirname(file), { recursive: true });
  // A figure a line: what changed is seen in a diff.
  const { figures, ...rest } = results;
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
