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
  for (let i = 0; i < job.calls && !thread.ending; i++) {
    try { native('int access(const char *path, int mode)')({}, 0); } catch {}
  }
  await null;
  parentPort.postMessage(job.name);
};
if (thread.data === 'alone') {
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
const done = [];
thread.worker.on('message', (name) => done.push(name));
for (const name of ['a', 'b', 'c']) thread.worker.postMessage({ calls: name === 'a' ? 1000 : 0, name });
while (done.length < 3) await sleep(1);
thread.worker.postMessage({ calls: Infinity, name: 'long' });
await sleep(20);
thread.worker.postMessage({ calls: 0, name: 'never' });
await thread.end();
console.log(done.join(' '));`;
  expect(await run('jobs', code)).toEqual({ end: 0, said: 'a b c long\n' });
});

test('a thread that fails does not take the process with it, nor hold it up', async () => {
  writeFileSync(join(folder, 'failing.mjs'), `throw new Error('bad');`);
  const code = `
const thread = new NativeThread(new URL(${JSON.stringify(pathToFileURL(join(folder, 'failing.mjs')).href)}), undefined);
await thread.ended;
const another = new NativeThread(new URL(${JSON.stringify(pathToFileURL(join(folder, 'failing.mjs')).href)}), undefined);
another.worker.on('error', () => {
  const begin = Date.now();
  process.on('exit', () => console.log('ended', Date.now() - begin < 3000));
  process.exit();
});`;
  expect(await run('bad', code)).toEqual({ end: 0, said: 'ended true\n' });
});
