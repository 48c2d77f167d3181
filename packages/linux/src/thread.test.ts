import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

const dist = (file: string): string => JSON.stringify(new URL(`../dist/${file}`, import.meta.url).href);

// Loads koffi, then does what it does worst when its thread is stopped: binds functions, and tells of errors.
const THREAD = `
import { parentPort } from 'node:worker_threads';
import { ownThread } from ${dist('thread.js')};
import { native } from ${dist('library.js')};
const thread = ownThread();
const work = async (job) => {
  parentPort.postMessage('begun ' + job.name);
  for (let i = 0; i < job.calls && !thread.ending; i++) {
    try { native('int access(const char *path, int mode)')({}, 0); } catch {}
  }
  await null;
  parentPort.postMessage('done ' + job.name);
};
if (thread.data === 'fails') {
  parentPort.postMessage('ready');
  while (!thread.ending);
  throw new Error('bad');
} else if (thread.data === 'alone') {
  await work({ calls: Infinity });
  thread.rest();
} else thread.takeJobs(work, async () => undefined);
`;

const START = `
import { NativeThread } from ${dist('thread.js')};
import { setTimeout as sleep } from 'node:timers/promises';
const start = (data) => new NativeThread(new URL('thread.mjs', import.meta.url), data);
const wait = Number(process.argv[2]);
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-thread-'));
  writeFileSync(join(folder, 'thread.mjs'), THREAD);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The exit code of a program, or the signal that ended it, and what it said. */
async function run(name: string, code: string, ...args: string[]): Promise<{ end: unknown; said: string }> {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, START + code);
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [file, ...args]);
    return { end: 0, said: stdout + stderr };
  } catch (error) {
    const { code: exit, signal, stderr } = error as { code?: number; signal?: string; stderr: string };
    return { end: signal ?? exit, said: stderr };
  }
}

test('a thread ends when it is asked to, whatever it is doing', async () => {
  const code = `
for (let i = 0; i < 12; i++) {
  const thread = start('jobs');
  thread.worker.postMessage({ calls: Infinity });
  await sleep(i * wait);
  await thread.end();
}`;
  for (const wait of [0, 3, 8]) expect(await run('end', code, String(wait))).toEqual({ end: 0, said: '' });
});

test('a process ends with its own exit code, whatever its threads are doing', async () => {
  const code = `
for (const data of ['jobs', 'alone']) start(data).worker.postMessage({ calls: Infinity });
await sleep(wait);
process.exit(7);`;
  for (let wait = 0; wait < 100; wait += 8) expect(await run('exit', code, String(wait))).toEqual({ end: 7, said: '' });
});

test('jobs are done one after the other, in their order; none is begun any more once the thread is to end', async () => {
  const code = `
const thread = start('jobs');
const told = [];
thread.worker.on('message', (word) => told.push(word));
for (const name of ['a', 'b']) thread.worker.postMessage({ calls: name === 'a' ? 1000 : 0, name });
thread.worker.postMessage({ calls: Infinity, name: 'long' });
while (told.length < 5) await sleep(1);
thread.worker.postMessage({ calls: 0, name: 'never' });
await thread.end();
console.log(told.join(', '));`;
  const said = 'begun a, done a, begun b, done b, begun long, done long\n';
  expect(await run('jobs', code)).toEqual({ end: 0, said });
});

test('a thread that fails does not take the process with it, nor hold it up', async () => {
  writeFileSync(join(folder, 'failing.mjs'), `throw new Error('bad');`);
  const code = `
const thread = new NativeThread(new URL(${JSON.stringify(pathToFileURL(join(folder, 'failing.mjs')).href)}), undefined);
await thread.ended;
process.exit(7);`;
  expect(await run('ended', code)).toEqual({ end: 7, said: '' });
  // While the process waits for it, 5 s at most.
  const waiting = `
const thread = start('fails');
thread.worker.on('message', () => {
  const begin = Date.now();
  process.on('exit', () => console.log('quick', Date.now() - begin < 4000));
  process.exit();
});`;
  expect(await run('waiting', waiting)).toEqual({ end: 0, said: 'quick true\n' });
});
