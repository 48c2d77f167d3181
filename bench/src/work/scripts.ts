/** Programs for Node that print one number; they measure without counting their own start. */

/** `ROOT LIST`: microseconds that a stat of each listed path takes. Names need not be UTF-8; a few may be missing, as
 * not every peer can show each. */
export const STATS_SCRIPT = `
import { readFileSync, lstatSync } from 'node:fs';
const [root, list] = process.argv.slice(1);
const paths = readFileSync(list, 'latin1').split('\\n').filter(Boolean).map((path) => Buffer.from(root + '/' + path, 'latin1'));
lstatSync(root);
const started = performance.now();
let missing = 0;
for (const path of paths) if (lstatSync(path, { throwIfNoEntry: false }) === undefined) missing++;
if (missing > paths.length / 10) throw new Error(missing + ' of the paths are missing');
console.log((performance.now() - started) * 1000 / paths.length);`;

/** `ROOT LIST READERS`: files a second that so many threads open, read and close, each its own part of the list. */
export const READERS_SCRIPT = `
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
const [root, list, count] = process.argv.slice(1);
const gate = new Int32Array(new SharedArrayBuffer(8));
const code = \`
const { readFileSync } = require('node:fs');
const { workerData: { gate, paths } } = require('node:worker_threads');
Atomics.add(gate, 1, 1);
Atomics.notify(gate, 1);
Atomics.wait(gate, 0, 0);
for (const path of paths) readFileSync(path);
\`;
const paths = readFileSync(list, 'utf8').split('\\n').map((path) => root + '/' + path);
const readers = Array.from({ length: Number(count) }, (_, i) =>
  new Worker(code, { eval: true, execArgv: [], workerData: { gate, paths: paths.filter((_, at) => at % Number(count) === i) } }));
const ends = readers.map((reader) => new Promise((resolve, reject) => reader.on('exit', resolve).on('error', reject)));
while (Atomics.load(gate, 1) < readers.length) await new Promise((resolve) => setTimeout(resolve, 5));
const started = performance.now();
Atomics.store(gate, 0, 1);
Atomics.notify(gate, 0);
await Promise.all(ends);
console.log(paths.length / ((performance.now() - started) / 1000));`;
