import { describe, expect, it } from 'vitest';
import type { Figure, Kind } from '../harness/figure.js';
import { comparisonText, compareResults } from './compare.js';
import { leastProbability, rankTest } from './rank-test.js';
import { makeResults, type Results } from './results.js';

function figure(subject: string, kind: Kind, values: readonly number[], unit = 'ms'): Figure {
  return { benchmark: 'use', title: 'walk', subject, kind, unit, values };
}

function results(...figures: Figure[]): Results {
  const machine = { cpu: 'c', cores: 2, memory: 1, kernel: 'k', disk: 'd', node: 'n', commit: 'a', peers: {} };
  return makeResults({
    date: '2026-01-01T00:00:00Z',
    command: 'all',
    quick: false,
    machine: { ...machine, load: 0, busy: 0 },
    figures,
  });
}

describe('the rank test', () => {
  it('counts exactly: five against five that are all larger are two of 252 ways', () => {
    expect(rankTest([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])).toBeCloseTo(2 / 252, 10);
    expect(leastProbability(5, 5)).toBeCloseTo(2 / 252, 10);
    expect(leastProbability(3, 3)).toBeCloseTo(0.1, 10);
  });
  it('sees nothing in equal samples, however many values are equal', () => {
    expect(rankTest([1, 1, 1, 1, 1], [1, 1, 1, 1, 1])).toBe(1);
    expect(rankTest([1, 3, 5, 7, 9], [2, 4, 6, 8, 10])).toBeGreaterThan(0.5);
  });
  it('goes over to the normal distribution without a jump', () => {
    const low = Array.from({ length: 25 }, (_, i) => i);
    // U is 225 of 625: z = -1.698, twice the tail 0.0896.
    expect(
      rankTest(
        low,
        low.map((value) => value + 4.5 - 1e-9),
      ),
    ).toBeGreaterThan(0.01);
    expect(
      rankTest(
        low,
        low.map((value) => value + 100),
      ),
    ).toBeLessThan(1e-6);
    const twenty = low.slice(0, 20);
    const shifted = twenty.map((value) => value + 5.5);
    const more = shifted.concat(30);
    expect(Math.abs(rankTest(twenty, shifted) - rankTest(twenty.concat(10.2), more))).toBeLessThan(0.02);
  });
});

describe('compared results', () => {
  const plain = figure('plain folder', 'limit', [50, 52, 49, 51, 50]);
  const base = results(figure('layerfs FUSE', 'ours', [100, 104, 98, 102, 101]), plain);

  it('flags a slower build', () => {
    const { worse, better } = compareResults(
      base,
      results(figure('layerfs FUSE', 'ours', [130, 126, 133, 129, 131]), plain),
    );
    expect(worse.map(({ figure, controlled }) => [figure.subject, controlled])).toEqual([['layerfs FUSE', true]]);
    expect(worse[0].ratio).toBeCloseTo(1.29, 1);
    expect(better).toEqual([]);
  });
  it('does not take a slower machine for a slower build', () => {
    const slow = base.figures.map((each) => ({ ...each, values: each.values.map((value) => value * 1.5) }));
    expect(compareResults(base, results(...slow))).toMatchObject({ worse: [], better: [], same: 1 });
  });
  it('does not take noise for a change', () => {
    const noisy = results(figure('layerfs FUSE', 'ours', [90, 125, 99, 104, 118]), plain);
    expect(compareResults(base, noisy)).toMatchObject({ worse: [], better: [], same: 1 });
  });
  it('knows that more a second is better', () => {
    const rate = (factor: number): Results =>
      results(
        figure(
          'layerfs',
          'ours',
          [100, 101, 99, 102, 98].map((value) => value * factor),
          'objects/s',
        ),
      );
    expect(compareResults(rate(1), rate(1.3))).toMatchObject({ worse: [], better: [{ controlled: false }] });
    expect(compareResults(rate(1.3), rate(1)).worse).toHaveLength(1);
  });
  it('says when rounds are too few to tell, and what is in one file only', () => {
    const few = (values: number[]): Results => results(figure('layerfs FUSE', 'ours', values));
    expect(compareResults(few([1, 2, 3]), few([7, 8, 9]))).toMatchObject({ worse: [], untold: 1 });
    expect(compareResults(base, results(figure('layerfs kernel', 'ours', [1]))).unmatched).toBe(2);
    expect(comparisonText(few([1, 2, 3]), few([7, 8, 9]))).toContain('1 with too few rounds to tell');
  });
});
