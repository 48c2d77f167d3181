/** What is measured on each mount of a curve. */
import { writeFileSync } from 'node:fs';
import { dropCaches, time, timeScript } from '../harness/programs.js';
import type { Measure } from './curve.js';

const STAT_SCRIPT = `
import { readFileSync, lstatSync } from 'node:fs';
const [root, list] = process.argv.slice(1);
const paths = readFileSync(list, 'utf8').split('\\n').map((path) => root + '/' + path);
lstatSync(root);
const started = performance.now();
for (const path of paths) lstatSync(path);
console.log((performance.now() - started) * 1000 / paths.length);`;

const READERS_SCRIPT = `
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

/** Everything with its attributes, the first time after mounting. */
export function walk(title: string): Measure {
  return { title, unit: 'ms', run: (root) => time(`find '${root}' -printf '%s\\n' > /dev/null`) };
}

/** Attributes of single names that the kernel does not know. @param file where the paths may be written */
export function uncachedStats(title: string, paths: readonly string[], file: string): Measure {
  writeFileSync(file, paths.join('\n'));
  return {
    title,
    unit: 'µs',
    run(root) {
      dropCaches(2);
      return timeScript(STAT_SCRIPT, root, file);
    },
  };
}

/** Files that are opened, read and closed by some threads at once. */
export function parallelReads(title: string, paths: readonly string[], file: string, readers: number): Measure {
  writeFileSync(file, paths.join('\n'));
  return {
    title,
    unit: 'files/s',
    run(root) {
      dropCaches(2);
      return timeScript(READERS_SCRIPT, root, file, String(readers));
    },
  };
}

/** One file from its beginning to its end. */
export function readFile(title: string, path: string): Measure {
  return { title, unit: 'ms', run: (root) => time(`cat '${root}/${path}' > /dev/null`) };
}
