import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TOP } from '../harness/programs.js';
import type { Figure } from '../harness/figure.js';
import { documents, withTables } from './documents.js';
import { latestResults } from './latest.js';
import { makeResults } from './results.js';

/** What prettier may change: how wide cells are. */
function cells(text: string): string {
  return text
    .replaceAll(/[ \t]+/g, ' ')
    .replaceAll(/-{2,}/g, '--')
    .replaceAll(/\n{2,}/g, '\n');
}

describe('documents', () => {
  const texts = documents().map((file) => [relative(TOP, file), readFileSync(file, 'utf8')] as const);

  it.each(texts)('%s shows what the results files say (npm run bench -- --from FILE --report)', (_, text) => {
    const problems: string[] = [];
    expect(cells(text)).toBe(cells(withTables(text, latestResults, problems)));
    expect(problems).toEqual([]);
  });

  it('have tables at all', () => {
    const all = texts.map(([, text]) => text).join('');
    expect(all.match(/<!-- bench: \{/g)?.length).toBeGreaterThan(10);
  });

  /** Times and rates that are no figures but constants of the program, or of others. */
  const CONSTANTS: readonly RegExp[] = [/100 µs is kept/, /sampled every 0\.2 ms/];
  it.each(texts)('%s has no figure that is in no results file', (_, text) => {
    const prose = CONSTANTS.reduce(
      (rest, constant) => rest.replace(constant, ''),
      text.replaceAll(/<!-- bench: \{[\s\S]*?<!-- bench: end -->/g, '').replaceAll(/```[\s\S]*?```/g, ''),
    );
    expect(
      prose.match(/^.*\b\d[\d.,]* ?(ms|µs|(MB|objects|files)\/s|(objects|entries|files|MB) a second)\b.*$/gm) ?? [],
    ).toEqual([]);
  });
});

it('makes tables of figures, and says which cannot be made', () => {
  const figure = (subject: string, kind: Figure['kind'], values: number[], at?: number): Figure => ({
    benchmark: at === undefined ? 'use' : 'curves-entries',
    title: 'walk',
    subject,
    kind,
    unit: 'ms',
    values,
    ...(at === undefined ? {} : { at: { axis: 'entries', value: at } }),
  });
  const machine = { cpu: 'c', cores: 2, memory: 1024, kernel: 'k', disk: 'd', node: 'n', commit: 'abc', peers: {} };
  const results = makeResults({
    date: '2026-01-02T00:00:00Z',
    command: 'npm run bench',
    quick: false,
    machine: { ...machine, load: 0, busy: 0 },
    figures: [
      figure('plain folder', 'limit', [5]),
      figure('layerfs FUSE', 'ours', [10, 30, 20]),
      figure('layerfs FUSE', 'ours', [1], 1000),
      figure('layerfs FUSE', 'ours', [900], 1_000_000),
      figure('slow', 'peer', [7], 1000),
    ],
    notes: [{ benchmark: 'curves-entries', title: 'walk', text: 'slow is left out' }],
  });
  const problems: string[] = [];
  const block = (asked: string): string => {
    const text = withTables(
      `before\n<!-- bench: ${asked} -->\nold\n<!-- bench: end -->\nafter`,
      () => ({ name: '2026-01-02', results }),
      problems,
    );
    // Made again, it is the same.
    expect(withTables(text, () => ({ name: '2026-01-02', results }), [])).toBe(text);
    expect(text).toMatch(/^before\n<!-- bench: [\s\S]*<!-- bench: end -->\nafter$/);
    return text;
  };
  expect(block('{"of":"use","show":"overview"}')).toContain('| walk, ms | 20.0 | 5.00 |');
  expect(block('{"of":"use","show":"turned"}')).toContain('| layerfs FUSE | 20.0 |');
  expect(block('{"of":"use","show":"comparison"}')).toContain('| layerfs FUSE | 20.0 | ms | 10.0–30.0 |');
  const growth = block('{"of":"curves","show":"growth"}');
  expect(growth).toContain('| walk, ms, at 1,000 and 1,000,000 entries | 1.00 → 900 | 7.00 → – |');
  expect(growth).toContain('- walk: slow is left out');
  expect(block('{"of":"run","show":"machine"}')).toContain('layerfs at abc');
  expect(problems).toEqual([]);
  expect(block('{"of":"use","show":"overview","titles":["read"]}')).toContain('old');
  expect(problems).toEqual([expect.stringContaining('2026-01-02.json has no read')]);
  // Nothing of a benchmark is no error: each may be left out of a run.
  expect(block('{"of":"write","show":"overview"}')).toContain('2026-01-02.json` has nothing of it');
});
