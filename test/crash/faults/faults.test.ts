/**
 * Imports, commits and new snapshots of which a request to the file system fails, each time another one; and disks that are
 * full, read-only, or out of descriptors for real. Each time the error is clear, nothing stays open or behind, the store is
 * whole, and the same command succeeds when it can. LAYERFS_CRASH_LONG=1 lets every request fail.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { CLI, layerfs } from '../../support/cli.js';
import { missing } from '../../support/needs.js';
import { scratchFolder } from '../../support/scratch.js';
import { sh, umount } from '../../support/union-place.js';
import { built, Recording } from '../record/record.js';
import type { RoundOptions, RoundsFound } from './rounds.js';

const LONG = process.env['LAYERFS_CRASH_LONG'] === '1';
const MINUTES = 60_000;
const run = promisify(execFile);
const scratch = scratchFolder('layerfs-faults-');
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const noFuse = missing('fuse');
if (noFuse !== undefined) console.warn(`skipped: requests that fail: ${noFuse}`);

/** How many requests fail, one after the other, spread over all. */
const ROUNDS = 40;

/** Runs all rounds in one process. */
async function roundsOf(name: string, options: RoundOptions): Promise<RoundsFound> {
  const folder = join(scratch, name);
  const recording = await Recording.start(folder);
  try {
    const sources = join(folder, 'sources');
    const out = await recording.run('faults/rounds.js', recording.mountpoint, sources, JSON.stringify(options));
    return JSON.parse(out) as RoundsFound;
  } finally {
    await recording.end();
  }
}

describe.skipIf(noFuse !== undefined)('requests that fail', () => {
  const kinds: [name: string, errno: number, how: RoundOptions['how'], kinds: RoundOptions['kinds']][] = [
    ['EIO, once', 5, 'once', 'changes'],
    ['ENOSPC, from one on', 28, 'on', 'space'],
    ['EROFS, from one on', 30, 'on', 'change'],
    ['EMFILE, from one on', 24, 'on', 'open'],
    ['ENOSPC, once', 28, 'once', 'space'],
  ];
  const cases = (['import', 'commit', 'snapshot'] as const).flatMap((command) =>
    // The others are parts of an import.
    kinds.slice(0, command === 'import' ? 5 : 2).map(([name, ...rest]) => [command, name, ...rest] as const),
  );
  test.each(cases)('%s: %s', { timeout: 60 * MINUTES }, async (command, name, errno, how, which) => {
    const options: RoundOptions = { command, errno, how, kinds: which, rounds: LONG ? 0 : ROUNDS };
    const found = await roundsOf(`${command}-${name.replaceAll(/\W+/g, '-')}`, options);
    expect(found.wrong).toEqual([]);
    expect(found.failed).toBeGreaterThan(found.rounds / 2);
    console.log(
      `${command}: ${name}: ${found.failed} of ${found.requests} requests failed: ${JSON.stringify(found.codes)}`,
    );
  });
});

/** A message for people: no stack, no name of a source file. */
function expectClear({ code, stderr }: { code: number | null; stderr: string }, says: RegExp): void {
  expect(stderr).toMatch(says);
  expect(stderr).not.toMatch(/^\s+at |\.js:\d+/m);
  expect(code).toBeGreaterThan(0);
  expect(code).toBeLessThan(128);
}

const noMounts = missing('root');
if (noMounts !== undefined) console.warn(`skipped: disks that are full or read-only: ${noMounts}`);

describe('the real thing', () => {
  const sources = join(scratch, 'sources');
  const large = join(sources, 'large');
  const prepare = async (root: string): Promise<void> => {
    rmSync(sources, { recursive: true, force: true });
    await run(process.execPath, [built('kills/prepare.js'), root, sources]);
  };
  const look = (root: string): Promise<unknown> => run(process.execPath, [built('kills/look.js'), root, 'end']);
  const importing = (root: string): ReturnType<typeof layerfs> =>
    layerfs(['--root', root, 'import', large, '--name', 'new']);

  test.skipIf(noMounts !== undefined)(
    'a small disk, and one that is made read-only',
    { timeout: 5 * MINUTES },
    async () => {
      const disk = join(scratch, 'disk');
      const root = join(disk, 'store');
      mkdirSync(disk);
      await sh('mount -t tmpfs -o size=8m tmpfs "$1"', [disk]);
      try {
        await prepare(root);
        const free = async (): Promise<number> => Number(await sh('stat -f -c %f "$1"', [disk]));
        const before = await free();
        for (const left of [100, 900, 1500, 2000, 2300]) {
          await sh('head -c $(( ($(stat -f -c %f "$1") * 4 - $2) * 1024 )) /dev/zero > "$1/ballast"', [
            disk,
            String(left),
          ]);
          const full = await free();
          const result = await importing(root);
          if (result.code === 0) throw new Error(`an import fitted into ${left} KiB`);
          expectClear(result, /no space left/i);
          // Records may have grown by what they then forget.
          expect(await free()).toBeGreaterThanOrEqual(full - 16);
          rmSync(join(disk, 'ballast'));
          await look(root);
        }
        expect(await free()).toBeGreaterThanOrEqual(before - 32);
        await sh('mount -o remount,ro "$1"', [disk]);
        expectClear(await importing(root), /read-only|no right/i);
        await sh('mount -o remount,rw "$1"', [disk]);
        expect(await importing(root)).toMatchObject({ code: 0 });
        await look(root);
      } finally {
        await umount(disk);
      }
    },
  );

  test('few descriptors', { timeout: 5 * MINUTES }, async () => {
    const root = join(scratch, 'store');
    await prepare(root);
    let failed = 0;
    let done = 0;
    for (const limit of LONG ? Array.from({ length: 30 }, (_, i) => 18 + i) : [19, 25, 31, 40, 64, 256]) {
      const result = await new Promise<{ code: number | null; stderr: string }>((resolve) => {
        const args = [
          '-c',
          'ulimit -n "$1"; shift; exec "$@"',
          'sh',
          String(limit),
          process.execPath,
          CLI,
          '--root',
          root,
        ];
        execFile('sh', [...args, 'import', large, '--name', `new${limit}`], (error, _, stderr) =>
          resolve({ code: error === null ? 0 : Number(error.code ?? -1), stderr }),
        );
      });
      // With fewer still Node.js itself does not start.
      if (/node::|Assertion|ERR_WORKER|node:internal|cannot find (package|module)/i.test(result.stderr)) continue;
      if (result.code === 0) done++;
      else {
        failed++;
        expectClear(result, /too many open files|EMFILE/i);
      }
      await look(root);
    }
    expect({ failed: failed > 0, done: done > 0 }).toEqual({ failed: true, done: true });
    await look(root);
  });
});

const noTrace = missing('strace');
if (noTrace !== undefined) console.warn(`skipped: system calls that fail: ${noTrace}`);

describe.skipIf(noTrace !== undefined)('system calls that fail', () => {
  const sources = join(scratch, 'traced-sources');
  const root = join(scratch, 'traced');
  const calls: [inject: string, says: RegExp, path?: string][] = [
    ['syncfs:error=EIO:when=1', /EIO/],
    ['syncfs:error=ENOSPC:when=1+', /no space left/i],
    // Of nothing else: koffi syncs the terminal at its end.
    ['fsync:error=EIO:when=1+', /disk I\/O error/, 'meta/records-wal'],
    ['flock:error=EIO:when=1+', /EIO/],
    ['flock:error=ENOLCK:when=2+', /ENOLCK/],
    ['rename:error=EROFS:when=1+', /EROFS|read-only/i],
    ['rename:error=ENOSPC:when=3+', /no space left/i],
    ['ftruncate:error=EIO:when=2+', /EIO/],
  ];
  test.each(calls)('%s', { timeout: 5 * MINUTES }, async (inject, says, path) => {
    rmSync(root, { recursive: true, force: true });
    rmSync(sources, { recursive: true, force: true });
    await run(process.execPath, [built('kills/prepare.js'), root, sources]);
    const what = ['import', join(sources, 'large'), '--name', 'new'];
    const only = path === undefined ? [] : ['-P', join(root, path)];
    const trace = [
      '-f',
      '-qq',
      '-o',
      '/dev/null',
      ...only,
      '-e',
      `trace=${inject.split(':')[0]}`,
      '-e',
      `inject=${inject}`,
    ];
    const result = await new Promise<{ code: number | null; stderr: string }>((resolve) => {
      execFile(
        'timeout',
        ['60', 'strace', ...trace, process.execPath, CLI, '--root', root, ...what],
        (error, _, stderr) => resolve({ code: error === null ? 0 : Number(error.code ?? -1), stderr }),
      );
    });
    expectClear(result, says);
    expect(result.code).not.toBe(124);
    await run(process.execPath, [built('kills/look.js'), root, 'end']);
    expect(await layerfs(['--root', root, ...what])).toMatchObject({ code: 0 });
    await run(process.execPath, [built('kills/look.js'), root, 'end']);
  });
});
