import { existsSync, mkdirSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { BENCHMARKS } from './benchmarks.js';
import { profileInto } from './peers/layerfs.js';
import { parseOptions, USAGE, type Options } from './options.js';
import { comparisonText, compareResults } from './results/compare.js';
import { inspectMachine, notIdle } from './results/machine.js';
import { updateDocuments } from './results/documents.js';
import { latestResults, RESULTS } from './results/latest.js';
import { writeReport } from './results/report.js';
import { makeResults, mergeResults, readResults, writeResults, type Results } from './results/results.js';
import { runBenchmarks, type Outcome } from './run.js';

// Where it is set, each start of Node reads hundreds of certificates, for 50 ms: nothing here asks anybody but this machine.
delete process.env['NODE_EXTRA_CA_CERTS'];

const [FAILED, WRONG_USE, WORSE] = [1, 2, 3];

function resultsFile({ json, report }: Options, date: string): string | undefined {
  return json ?? (report ? join(RESULTS, `${date.slice(0, 10)}.json`) : undefined);
}

/** Runs, and writes the results file after each benchmark: an interrupt loses one of them at most. */
async function measure(asked: Options): Promise<Results> {
  const machine = await inspectMachine();
  const { kernel, node, cores, cpu } = machine;
  console.log(`Linux ${kernel}, Node ${node}, ${cores} cores of ${cpu}`);
  const warning = notIdle(machine);
  if (warning !== undefined) console.log(`warning: ${warning}`);
  const { names, quick, full, rounds } = asked;
  const date = new Date().toISOString();
  // Where its file lies says nothing of how it was measured.
  const words = process.argv.slice(2).filter((word, i, all) => word !== '--json' && all[i - 1] !== '--json');
  const command = ['npm run bench', ...(words.length > 0 ? ['--', ...words] : [])].join(' ');
  const file = resultsFile(asked, date);
  // What was measured on the same day by other runs stays in that day's file.
  const earlier = asked.json === undefined && file !== undefined && existsSync(file) ? [readResults(file)] : [];
  const results = ({ figures, notes, seconds }: Outcome): Results =>
    mergeResults([...earlier, makeResults({ date, command, quick, machine, figures, notes, seconds })]);
  const profiles = asked.profile === undefined ? undefined : resolve(asked.profile);
  if (profiles !== undefined) {
    mkdirSync(profiles, { recursive: true });
    profileInto(profiles);
  }
  const settings = {
    quick,
    full,
    ...(rounds === undefined ? {} : { rounds }),
    ...(profiles === undefined ? {} : { profiles }),
  };
  const outcome = await runBenchmarks(names, settings, (sofar) => {
    if (file !== undefined) writeResults(file, results(sofar));
  });
  const { failed } = outcome;
  if (file !== undefined) console.log(`written: ${file}`);
  if (failed.length > 0) {
    console.error(`failed: ${failed.join(', ')}`);
    process.exitCode = FAILED;
  }
  return results(outcome);
}

/** What other runs measured; as one file where that is asked for. */
function taken(asked: Options): Results {
  const results = mergeResults(asked.from.map(readResults));
  const file = asked.from.length === 1 ? asked.json : resultsFile(asked, results.date);
  if (file !== undefined) writeResults(file, results);
  return results;
}

let asked: Options | undefined;
try {
  asked = parseOptions(process.argv.slice(2));
} catch (error) {
  console.error((error as Error).message);
  process.exit(WRONG_USE);
}
if (asked === undefined) console.log(USAGE);
else if (asked.list) {
  const seconds = latestResults()?.results.seconds ?? {};
  for (const { name, about, needsRoot } of BENCHMARKS) {
    const took = seconds[name] === undefined ? '' : `; ${seconds[name]} s`;
    console.log(`${name.padEnd(15)}${about}${needsRoot ? ' (root)' : ''}${took}`);
  }
} else {
  // Before an hour is spent on what it is to be compared with.
  const base = asked.compare === undefined ? undefined : readResults(asked.compare);
  const results = asked.from.length === 0 ? await measure(asked) : taken(asked);
  const file = asked.json ?? (asked.from.length === 1 ? asked.from[0] : resultsFile(asked, results.date));
  if (asked.report && file !== undefined) {
    const [folder, name] = [dirname(resolve(file)), basename(file, '.json')];
    const written = await writeReport(results, folder, name);
    // Documents show what is in the repository.
    if (folder === RESULTS) written.push(...(await updateDocuments()));
    console.log(`written: ${written.join(', ')}`);
  }
  if (base !== undefined) {
    console.log(comparisonText(base, results));
    if (asked.failIfWorse && compareResults(base, results).worse.length > 0) process.exitCode = WORSE;
  }
}
