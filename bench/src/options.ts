/** The command line. */
import { parseArgs } from 'node:util';
import { BENCHMARKS, benchmarksNamed } from './benchmarks.js';

/** What was asked for. */
export interface Options {
  readonly names: readonly string[];
  readonly list: boolean;
  readonly quick: boolean;
  readonly full: boolean;
  readonly rounds?: number;
  readonly json?: string;
  readonly from: readonly string[];
  readonly compare?: string;
  readonly failIfWorse: boolean;
  readonly report: boolean;
  readonly profile?: string;
}

export const USAGE = `npm run bench -- [NAME]… [options]     all benchmarks, or those named

  --list             what there is
  --quick            small data, few rounds: does it work at all
  --full             the largest data: takes hours (curves, scale), and all rounds of peers that are slow
  --rounds N         in place of each benchmark's own number
  --json FILE        write a results file: the machine's facts, and each round of each figure
  --compare FILE     what changed since that results file beyond noise
  --fail-if-worse    with --compare: exit code 3 when something costs more
  --report           write bench/results/DATE.json (or --json's file), beside it a report and plots; of bench/results, also
                     the tables in README and docs. What other runs of that day have measured stays
  --profile FOLDER   keep for each of our FUSE mounts counts and latencies by opcode, and its server's CPU profile
  --from FILE        run nothing: take the figures of a results file; of several, when given again (--json FILE writes them as one)`;

/** @returns undefined for --help @throws Error with a sentence for the user */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      help: { type: 'boolean' },
      list: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      full: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      json: { type: 'string' },
      from: { type: 'string', multiple: true, default: [] },
      compare: { type: 'string' },
      profile: { type: 'string' },
      'fail-if-worse': { type: 'boolean', default: false },
      report: { type: 'boolean', default: false },
    },
  });
  if (values.help === true) return undefined;
  const unknown = positionals.filter((name) => benchmarksNamed(name).length === 0);
  if (unknown.length > 0) {
    throw new Error(`no benchmark ${unknown.join(', ')}; there are ${BENCHMARKS.map(({ name }) => name).join(', ')}`);
  }
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) {
    throw new Error(`--rounds wants a number, not ${values.rounds}`);
  }
  const { list, quick, full, json, from, compare, report, profile } = values;
  if (report && quick && json === undefined && from.length === 0) {
    throw new Error('--report of a quick run wants --json FILE: bench/results is for whole runs');
  }
  return {
    names: positionals.flatMap(benchmarksNamed),
    list,
    quick,
    full,
    from,
    report,
    failIfWorse: values['fail-if-worse'],
    ...(rounds === undefined ? {} : { rounds }),
    ...(json === undefined ? {} : { json }),
    ...(compare === undefined ? {} : { compare }),
    ...(profile === undefined ? {} : { profile }),
  };
}
