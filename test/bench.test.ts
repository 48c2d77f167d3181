/** The benchmarks as a program: what `--compare` says of a slower build, and what an interrupt leaves behind. */
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { need } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';

const TOP = fileURLToPath(new URL('..', import.meta.url));
const WORSE = 3;
const SLEEP = 2000;
let scratch = '';

beforeAll(() => {
  scratch = scratchFolder('layerfs-bench-test-');
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Runs the benchmarks of a checkout, with temporary files in a folder of the test's. */
function bench(top: string, ...words: string[]): { status: number | null; output: string } {
  const env = { ...process.env, TMPDIR: scratch };
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(top, 'bench/dist/main.js'), ...words], {
    encoding: 'utf8',
    env,
  });
  return { status, output: stdout + stderr };
}

/** A copy of what is built here, in which each import sleeps first. */
function slowedBuild(folder: string): string {
  for (const part of ['packages', 'bench/dist', 'bench/node_modules', 'bench/package.json']) {
    cpSync(join(TOP, part), join(folder, part), { recursive: true, verbatimSymlinks: true });
  }
  for (const part of ['.bin', '@layerfs', 'layerfs']) {
    cpSync(join(TOP, 'node_modules', part), join(folder, 'node_modules', part), {
      recursive: true,
      verbatimSymlinks: true,
    });
  }
  symlinkSync(join(TOP, 'node_modules/.pnpm'), join(folder, 'node_modules/.pnpm'));
  symlinkSync(join(TOP, 'test'), join(folder, 'test'));
  const bundle = join(folder, 'packages/cli/bundle');
  const head = /async function importSource\(.*\) \{\n/;
  const files = readdirSync(bundle).filter((name) => name.startsWith('layerfs-') && name.endsWith('.js'));
  const found = files.map((name) => join(bundle, name)).filter((file) => head.test(readFileSync(file, 'utf8')));
  expect(found).toHaveLength(1);
  const pause = `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${SLEEP});\n`;
  writeFileSync(
    found[0],
    readFileSync(found[0], 'utf8').replace(head, (line) => line + pause),
  );
  return folder;
}

test('--compare names what a slowed build is worse at, and --fail-if-worse ends with a code of its own', (context) => {
  need(context, 'gzip');
  const base = join(scratch, 'base.json');
  const words = ['import', '--quick', '--rounds', '5'];
  const first = bench(TOP, ...words, '--json', base);
  expect(first).toMatchObject({ status: 0 });
  const slowed = slowedBuild(join(scratch, 'slowed'));
  const second = bench(slowed, ...words, '--compare', base, '--fail-if-worse');
  expect(second).toMatchObject({ status: WORSE });
  expect(second.output).toMatch(/worse +\+\d+ % {2}import: import mini: layerfs import/);
  // The same file compared with itself has nothing worse in it.
  const same = bench(TOP, '--from', base, '--compare', base, '--fail-if-worse');
  expect(same).toMatchObject({ status: 0 });
  expect(same.output).toContain('0 worse, 0 better');
}, 300_000);

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s in the middle leaves no mount, no process and no file',
  async (signal) => {
    const temporary = join(scratch, signal);
    mkdirSync(temporary);
    const child = spawn(
      process.execPath,
      [join(TOP, 'bench/dist/main.js'), 'use', 'requests', '--rounds', '50', '--quick'],
      {
        env: { ...process.env, TMPDIR: temporary },
        stdio: 'ignore',
      },
    );
    const ended = new Promise<number | null>((done) => child.once('exit', done));
    const mounts = (): string[] =>
      readFileSync('/proc/self/mounts', 'utf8')
        .split('\n')
        .filter((line) => line.includes(`${temporary}/`));
    const running = (): string[] =>
      readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name) && existsSync(`/proc/${name}/environ`))
        .filter((pid) => environmentOf(pid).includes(`TMPDIR=${temporary}`));
    // As an ordinary user all of it is left out, and there is nothing to interrupt.
    while (child.exitCode === null && !mounts().some((line) => line.includes(' fuse'))) await sleep(20);
    child.kill(signal);
    const code = await ended;
    expect(code).toBe(process.getuid?.() === 0 ? { SIGINT: 130, SIGTERM: 143 }[signal] : 0);
    expect(mounts()).toEqual([]);
    // Servers that were unmounted last may be on their way out.
    for (let i = 0; i < 100 && running().length > 0; i++) await sleep(50);
    expect(running()).toEqual([]);
    expect(readdirSync(temporary)).toEqual([]);
    expect(loopFiles().filter((file) => file.startsWith(temporary))).toEqual([]);
  },
  120_000,
);

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1');
  } catch {
    // It has ended, or is somebody else's.
    return '';
  }
}

/** What loop devices stand on. */
function loopFiles(): string[] {
  const files = readdirSync('/sys/block')
    .map((name) => `/sys/block/${name}/loop/backing_file`)
    .filter((file) => existsSync(file));
  return files.map((file) => readFileSync(file, 'utf8').trim());
}
