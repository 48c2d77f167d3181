/** The results files of this repository. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { TOP } from '../harness/programs.js';
import { readResults, type Results } from './results.js';

/** Where results files, reports and plots of this repository are. */
export const RESULTS = join(TOP, 'bench/results');

/** A results file of the repository. */
export interface Latest {
  /** Without folder and `.json`. */
  readonly name: string;
  readonly results: Results;
}

/**
 * The one of the latest day; undefined when there is none.
 * @param what `scale` for `DATE-scale.json`: what is measured apart from the rest
 */
export function latestResults(what = ''): Latest | undefined {
  const ending = what === '' ? '' : `-${what}`;
  const names = readdirSync(RESULTS)
    .filter((file) => /^\d{4}-\d\d-\d\d/.test(file) && file.slice(10) === `${ending}.json`)
    .map((file) => file.slice(0, -5))
    .toSorted();
  const name = names.at(-1);
  return name === undefined ? undefined : { name, results: readResults(join(RESULTS, `${name}.json`)) };
}
