import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Figure } from '../harness/figure.js';
import { writeReport } from './report.js';
import { makeResults, mergeResults, readResults, writeResults, type Results } from './results.js';

const MACHINE = {
  cpu: 'c',
  cores: 2,
  memory: 1,
  kernel: 'k',
  disk: 'd',
  node: 'n',
  commit: 'a',
  peers: {},
  load: 0,
  busy: 0,
};

function figure(benchmark: string, title: string, value: number): Figure {
  return { benchmark, title, subject: 'layerfs', kind: 'ours', unit: 'ms', values: [value] };
}

function part(commit: string, figures: readonly Figure[], more: Partial<Results> = {}): Results {
  const command = `npm run bench -- ${commit}`;
  const date = '2026-01-01T00:00:00Z';
  return makeResults({ date, command, quick: false, machine: { ...MACHINE, commit }, figures, ...more });
}

it('merges runs of several parts: of each benchmark the last run that has it, whole', async () => {
  const note = (text: string) => ({ benchmark: 'use', title: 'walk', text });
  const first = part('first', [figure('use', 'walk', 1), figure('use', 'stat', 2), figure('read', 'all', 3)], {
    notes: [note('old')],
    seconds: { use: 10, read: 20 },
  });
  const second = part('second', [figure('use', 'walk', 4)], { notes: [note('new')], seconds: { use: 11 } });
  const merged = mergeResults([first, second]);
  expect(merged.figures.map(({ benchmark, title, values }) => [benchmark, title, values[0]])).toEqual([
    ['use', 'walk', 4],
    ['read', 'all', 3],
  ]);
  expect(merged.notes).toEqual([note('new')]);
  expect(merged.seconds).toEqual({ use: 11, read: 20 });
  expect(merged.parts?.map(({ machine, benchmarks }) => [machine.commit, benchmarks])).toEqual([
    ['first', ['read']],
    ['second', ['use']],
  ]);

  const folder = mkdtempSync(join(tmpdir(), 'layerfs-results-'));
  try {
    const file = join(folder, 'merged.json');
    writeResults(file, merged);
    expect(readResults(file)).toEqual(merged);
    // A merged file is a part like any other.
    const third = part('third', [figure('read', 'all', 5)]);
    expect(mergeResults([readResults(file), third]).parts?.map(({ benchmarks }) => benchmarks)).toEqual([
      ['use'],
      ['read'],
    ]);
    expect(await writeReport(merged, folder, 'merged')).toContain(join(folder, 'merged.md'));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('is one run again when that has all there is', () => {
  const whole = part('whole', [figure('use', 'walk', 1), figure('read', 'all', 2)]);
  expect(mergeResults([part('old', [figure('use', 'walk', 3)]), whole])).toBe(whole);
});

it('mixes no quick run with others', () => {
  const quick = part('quick', [], { quick: true });
  expect(() => mergeResults([part('whole', []), quick])).toThrow('not to be mixed');
});
