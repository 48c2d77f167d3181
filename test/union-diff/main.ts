/**
 * Random file operations on a union mount and on kernel overlayfs, side by side. After `tsc -b`:
 *
 *     node test/dist/union-diff/main.js --subject layerfs --seed 1 --sequences 2000
 *
 * Prints what differs, each with the smallest sequence of operations that shows it, and ends with 1 if anything does.
 * `--concurrent` has 8 processes use each mount at once. All arguments: options.ts.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { readOptions } from './options.js';
import type { Job } from './run/child.js';
import { PATIENCE, giveUp, newArea, prepareLowers, removeArea, superviseChild } from './run/supervise.js';
import { addTally, printTally, type Tally } from './run/tally.js';
import type { WorkerMessage } from './run/messages.js';

const options = readOptions(process.argv.slice(2), process.env);
const area = newArea();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    giveUp(area);
    process.exit(130);
  });
}
const failures = new Map<string, number>();
const ended = new Map<string, number>();
const shown = new Set<string>();
const tally: Tally = {};
let sequences = 0;
let operations = 0;

function onMessage(message: WorkerMessage): void {
  switch (message.kind) {
    case 'report':
      if (!shown.has(message.key)) console.log(`\n${message.text}\n`);
      shown.add(message.key);
      return;
    case 'tally':
      addTally(tally, message.tally);
      return;
    case 'round':
      sequences += message.sequences;
      operations += message.operations;
      for (const why of message.ended) ended.set(why, (ended.get(why) ?? 0) + 1);
      for (const failure of message.failures) failures.set(failure, (failures.get(failure) ?? 0) + 1);
  }
}

type Common = Pick<Job & { kind: 'worker' }, 'subject' | 'lowers' | 'length' | 'reports'>;

async function runChild(common: Common, index: number, children: number): Promise<void> {
  const folder = join(area, `child-${String(index)}`);
  mkdirSync(folder);
  const progressFile = join(folder, 'progress');
  const count = Math.ceil(options.sequences / children);
  const first = options.seed + index * count;
  const length = Math.max(0, Math.min(count, options.seed + options.sequences - first));
  const seeds = Array.from({ length }, (_, at) => first + at);
  const job: Job = options.concurrent
    ? { ...common, kind: 'concurrent', folder, name: `diff-${String(index)}`, seeds }
    : { ...common, kind: 'worker', folder, name: `diff-${String(index)}`, seeds, progressFile, full: options.full };
  // Who waits for others must wait longer than they do.
  const patience = options.concurrent ? 3 * PATIENCE : PATIENCE;
  const end = await superviseChild({ job, folder, progressFile, patience }, (message) =>
    onMessage(message as WorkerMessage),
  );
  if (end !== undefined) failures.set(end, 1);
}

try {
  const lowers = await prepareLowers(area, options.subject);
  const { subject, length, reports } = options;
  const started = Date.now();
  const children = options.concurrent ? 1 : options.jobs;
  const common = { subject, lowers, length, reports };
  await Promise.all(Array.from({ length: children }, (_, index) => runChild(common, index, children)));
  const seconds = (Date.now() - started) / 1000;
  for (const [why, times] of ended) console.log(`${String(times)} sequences ended early: ${why}`);
  if (options.tally) console.log(printTally(tally));
  for (const [what, times] of [...failures].toSorted((a, b) => b[1] - a[1])) {
    console.log(`${String(times).padStart(6)}  ${what}`);
  }
  console.log(
    `${String(sequences)} sequences, ${String(operations)} operations on ${subject} in ${seconds.toFixed(1)} s ` +
      `(${(sequences / seconds).toFixed(1)} sequences a second): ` +
      (failures.size === 0 ? 'no differences' : `${String(failures.size)} kinds of difference`),
  );
  process.exitCode = failures.size === 0 ? 0 : 1;
} finally {
  removeArea(area);
}
