import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { parseArgs } from 'node:util';
import { BENCHMARKS } from './benchmarks.js';
import { Data } from './data/data.js';
import { Bench, type Benchmark, type Settings } from './harness/bench.js';
import type { Figure } from './harness/figure.js';
import { asText, tables } from './harness/table.js';

const USAGE = `npm run bench -- [NAME]… [options]     all benchmarks, or those named

  --list        what there is
  --quick       small data, few rounds: does it work at all
  --full        the largest data: takes hours
  --rounds N    in place of each benchmark's own number
  --json FILE   the figures, with each round`;

const { values: options, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: 'boolean' },
    list: { type: 'boolean' },
    quick: { type: 'boolean' },
    full: { type: 'boolean' },
    rounds: { type: 'string' },
    json: { type: 'string' },
  },
});

const unknown = names.filter((name) => !BENCHMARKS.some((benchmark) => benchmark.name === name));
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(', ')}; there are ${BENCHMARKS.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
if (options.help === true) {
  console.log(USAGE);
  process.exit(0);
}
if (options.list === true) {
  for (const { name, about, needsRoot } of BENCHMARKS) {
    console.log(`${name.padEnd(12)}${about}${needsRoot ? ' (root)' : ''}`);
  }
  process.exit(0);
}
const rounds = options.rounds === undefined ? undefined : Number(options.rounds);
if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) {
  console.error(`--rounds wants a number, not ${options.rounds}`);
  process.exit(2);
}
const settings: Settings = {
  quick: options.quick === true,
  full: options.full === true,
  ...(rounds === undefined ? {} : { rounds }),
};

async function runOne(benchmark: Benchmark, data: Data): Promise<Figure[]> {
  const bench = new Bench(benchmark.name, settings, data);
  if (benchmark.needsRoot && process.geteuid?.() !== 0) {
    bench.say('left out: needs root, to mount the peers');
    return [];
  }
  const started = performance.now();
  await benchmark.run(bench);
  for (const table of tables(bench.figures)) console.log(`\n${asText(table)}`);
  console.log(`\n${benchmark.name}: done in ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
  return bench.figures;
}

console.log(`Linux ${release()}, Node ${process.versions.node}, ${availableParallelism()} cores of ${cpus()[0].model}`);
const data = new Data(settings.quick ? 4 : 40);
const figures: Figure[] = [];
for (const benchmark of BENCHMARKS) {
  if (names.length === 0 || names.includes(benchmark.name)) figures.push(...(await runOne(benchmark, data)));
}
data.release();
if (options.json !== undefined) {
  const text = JSON.stringify({ kernel: release(), node: process.version, figures }, undefined, 2);
  writeFileSync(options.json, `${text}\n`);
}
