/** When the snapshotter answers, what it answered is on disk: looked at by what it asks the kernel for. */
import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { need } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';

const TOGETHER = 40;
const PACKAGE = new URL('../packages/snapshotter/dist/index.js', import.meta.url).href;
/** Says a line for each call that was answered. */
const PROGRAM = `
  import { writeSync } from 'node:fs';
  import { openSnapshotter } from ${JSON.stringify(PACKAGE)};
  const snapshotter = openSnapshotter({ root: process.argv[1] });
  const say = (what) => writeSync(1, 'answered ' + what + '\\n');
  say('open');
  await snapshotter.prepare('key', undefined);
  say('prepare');
  await snapshotter.update({ name: 'key', labels: { a: 'b' } });
  say('update');
  await snapshotter.commit('name', 'key');
  say('commit');
  await snapshotter.remove('name');
  say('remove');
  await Promise.all(Array.from({ length: ${TOGETHER} }, (_, i) => snapshotter.prepare(String(i), undefined)));
  say('together');
  await snapshotter.close();
`;
const run = promisify(execFile);

let folder: string;
beforeEach(() => void (folder = scratchFolder('layerfs-disk-')));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Step {
  readonly call: string;
  readonly line: string;
}

/** What was asked for before each answer, since the one before. */
async function traced(): Promise<Map<string, Step[]>> {
  const log = join(folder, 'trace');
  const calls = 'pwrite64,write,fsync,fdatasync,rename,ftruncate';
  const program = [process.execPath, '--input-type=module', '-e', PROGRAM, join(folder, 'root')];
  await run('strace', ['-f', '-y', '-s', '40', '-e', `trace=${calls}`, '-o', log, ...program]);
  const answers = new Map<string, Step[]>();
  let steps: Step[] = [];
  for (const line of readFileSync(log, 'latin1').split('\n')) {
    const [, answered] = /write\(1<[^>]*>, "answered (\w+)/.exec(line) ?? [];
    if (answered !== undefined) {
      answers.set(answered, steps);
      steps = [];
    }
    const [, call] = /^\d+ +(\w+)\(/.exec(line) ?? [];
    if (call !== undefined) steps.push({ call, line });
  }
  return answers;
}

const ofLog = ({ line }: Step): boolean => line.includes('/records-wal>');
const isWait = (step: Step): boolean => step.call === 'fdatasync' && ofLog(step);
const isRecord = (step: Step): boolean => step.call.endsWith('write64') && ofLog(step);

test('each answer comes after its record is on disk, and folders go only then', async (context) => {
  need(context, 'strace');
  const answers = await traced();
  expect([...answers.keys()]).toEqual(['open', 'prepare', 'update', 'commit', 'remove', 'together']);
  for (const [answer, steps] of answers) {
    if (answer === 'open') continue;
    const written = steps.findLastIndex(isRecord);
    const waited = steps.findLastIndex(isWait);
    expect({ answer, isWritten: written >= 0, isOnDisk: waited > written }).toEqual({
      answer,
      isWritten: true,
      isOnDisk: true,
    });
  }
  const removing = answers.get('remove') ?? [];
  const away = removing.findIndex(({ call, line }) => call === 'rename' && /snapshots\/\d+", /.test(line));
  expect(away).toBeGreaterThan(removing.findIndex(isWait));
  // Those that come together share their waits.
  const together = answers.get('together') ?? [];
  expect(together.filter(({ call }) => call === 'rename')).toHaveLength(TOGETHER);
  expect(together.filter(isWait).length).toBeLessThanOrEqual(3);
  // It does not grow: the wait would be for the filesystem's journal, too.
  const sizes = [...answers.values()]
    .flat()
    .filter(isRecord)
    .map(({ line }) => Number(/, (\d+)\) += /.exec(line)?.[1]));
  expect(Math.max(...sizes)).toBeLessThan(4 << 20);
});
