import { expect, it } from 'vitest';
import type { Figure } from '../harness/figure.js';
import { plotCurve, plotRatios } from './plots.js';

function figure(subject: string, kind: Figure['kind'], values: number[], at?: number): Figure {
  const place = at === undefined ? {} : { at: { axis: 'entries', value: at } };
  return { benchmark: 'b', title: 'walk', subject, kind, unit: 'ms', values, ...place };
}

/** The labels of an axis or a legend. */
function texts(svg: string): string[] {
  return [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((match) => match[1]);
}

it('draws a curve: a line and bars for each subject, logarithmic over powers of ten', async () => {
  const svg = await plotCurve(
    'walk',
    [10, 1000, 100_000].flatMap((at) => [
      figure('layerfs FUSE', 'ours', [at, at * 1.2, at * 0.9], at),
      figure('kernel overlayfs', 'peer', [at * 2, at * 2.1, at * 1.9], at),
    ]),
  );
  expect(svg).toMatch(/^<svg /);
  expect(texts(svg)).toEqual(expect.arrayContaining(['entries', 'ms', 'layerfs FUSE', 'kernel overlayfs', '100,000']));
  expect(svg.match(/aria-roledescription="rule mark"/g)).toHaveLength(6);
  expect(svg.match(/aria-roledescription="line mark"/g)).toHaveLength(2);
});

it('draws ratios to the limit', async () => {
  const svg = await plotRatios(
    'all',
    new Map([['walk', [figure('layerfs FUSE', 'ours', [30, 20, 40]), figure('plain folder', 'limit', [10, 10, 10])]]]),
  );
  expect(svg).toMatch(/aria-label="[^"]*limit[^"]*: 3; title: walk; subject: layerfs FUSE/);
});
