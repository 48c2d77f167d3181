import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { formatTable, type Figure } from './harness.js';
import { benchImport } from './import.js';
import { benchMicro } from './micro.js';
import { benchRead } from './read.js';
import { benchScale } from './scale/scale.js';
import { benchUse } from './use.js';
import { benchWrite } from './write.js';

const BENCHMARKS: Readonly<Record<string, (quick: boolean) => Promise<Figure[]>>> = {
  micro: benchMicro,
  import: benchImport,
  read: benchRead,
  write: benchWrite,
  use: benchUse,
  scale: benchScale,
};

const args = process.argv.slice(2);
const quick = args.includes('--quick');
const jsonAt = args.indexOf('--json');
const json = jsonAt < 0 ? undefined : args[jsonAt + 1];
const names = args.filter((arg, i) => !arg.startsWith('--') && (jsonAt < 0 || i !== jsonAt + 1));
const unknown = names.filter((name) => BENCHMARKS[name] === undefined);
if (args.includes('--help') || unknown.length > 0) {
  console.log(`npm run bench -- [${Object.keys(BENCHMARKS).join('|')}]… [--quick] [--json FILE]`);
  process.exit(unknown.length > 0 ? 2 : 0);
}

console.log(`Linux ${release()}, Node ${process.versions.node}, ${availableParallelism()} cores of ${cpus()[0].model}`);
const all: Figure[] = [];
for (const name of names.length > 0 ? names : Object.keys(BENCHMARKS)) {
  const figures = await BENCHMARKS[name](quick);
  all.push(...figures);
  for (const title of new Set(figures.map((figure) => figure.benchmark))) {
    console.log(`\n${title}\n${formatTable(figures.filter((figure) => figure.benchmark === title))}`);
  }
}
if (json !== undefined) {
  writeFileSync(json, `${JSON.stringify({ kernel: release(), node: process.version, figures: all }, undefined, 2)}\n`);
}
