/** Figures as SVG, drawn by Vega-Lite: dots and lines at medians, bars from the fastest to the slowest round. */
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import { best, costRatio, median, type Figure } from '../harness/figure.js';

/** Okabe and Ito's colours: told apart also by people who see fewer of them. */
const COLOURS = ['#d55e00', '#0072b2', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#999999'];
/** So that the same subject has the same colour in each plot. */
const SUBJECTS = [
  'layerfs FUSE',
  'layerfs kernel',
  'layerfs fuse-native',
  'kernel overlayfs',
  'fuse-overlayfs',
  'unionfs-fuse',
  'plain folder',
];

interface Point {
  readonly subject: string;
  readonly title: string;
  readonly at: number;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

function point(figure: Figure, base = 1): Point {
  const { subject, title, at, values } = figure;
  return {
    subject,
    title,
    at: at?.value ?? 0,
    value: median(values) / base,
    low: Math.min(...values) / base,
    high: Math.max(...values) / base,
  };
}

/** A curve: what each subject takes as something grows. */
export function plotCurve(title: string, figures: readonly Figure[]): Promise<string> {
  const [{ at, unit }] = figures;
  const points = figures.map((figure) => point(figure));
  const x = { field: 'at', type: 'quantitative', scale: scaleOf(points.map(({ at }) => at)), title: at?.axis };
  const values = points.flatMap(({ low, high }) => [low, high]);
  const y = { field: 'value', type: 'quantitative', scale: scaleOf(values), title: unit };
  return svg({
    title,
    width: 460,
    height: 280,
    data: { values: points },
    encoding: { x, color: colour(points) },
    layer: [
      { mark: { type: 'rule', opacity: 0.6 }, encoding: { y: { ...y, field: 'low' }, y2: { field: 'high' } } },
      { mark: { type: 'line', point: true }, encoding: { y } },
    ],
  });
}

/** Several comparisons in one: how many times as much as the limit each subject takes, or as the best peer where there is none. */
export function plotRatios(title: string, comparisons: ReadonlyMap<string, readonly Figure[]>): Promise<string> {
  const points = [...comparisons.values()].flatMap((figures) => {
    const limits = figures.filter(({ kind }) => kind === 'limit');
    const base = best(limits.length > 0 ? limits : figures.filter(({ kind }) => kind === 'peer'));
    if (base === undefined) return [];
    return figures.map((figure) => ({
      ...point(figure, base),
      value: costRatio(median(figure.values), base, figure.unit),
      low: costRatio(Math.min(...figure.values), base, figure.unit),
      high: costRatio(Math.max(...figure.values), base, figure.unit),
    }));
  });
  const x = {
    field: 'value',
    type: 'quantitative',
    scale: { type: 'log', nice: false },
    title: '× limit (log scale; less is better)',
  };
  const y = {
    field: 'title',
    type: 'nominal',
    sort: [...comparisons.keys()],
    title: null,
    axis: { labelLimit: 400 },
  };
  const each = { y, color: colour(points) };
  return svg({
    title,
    width: 460,
    height: { step: 26 },
    data: { values: points },
    layer: [
      { mark: { type: 'rule', color: '#bbbbbb' }, encoding: { x: { datum: 1 } } },
      { mark: { type: 'rule', opacity: 0.6 }, encoding: { ...each, x: { ...x, field: 'low' }, x2: { field: 'high' } } },
      { mark: { type: 'point', filled: true, size: 55, opacity: 0.9 }, encoding: { ...each, x } },
    ],
  });
}

/** Logarithmic where values differ by more than a power of ten and none is zero. */
function scaleOf(values: readonly number[]): object {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low > 0 && high / low > 10 ? { type: 'log' } : { type: 'linear', zero: true };
}

function colour(points: readonly Point[]): object {
  const found = new Set(points.map(({ subject }) => subject));
  const known = SUBJECTS.filter((subject) => found.has(subject));
  const others = [...found].filter((subject) => !known.includes(subject));
  const domain = [...known, ...others];
  const free = COLOURS.filter((_, i) => !known.includes(SUBJECTS[i]));
  const range = [
    ...known.map((subject) => COLOURS[SUBJECTS.indexOf(subject)]),
    ...others.map((_, i) => free[i % free.length]),
  ];
  return { field: 'subject', type: 'nominal', scale: { domain, range }, title: null };
}

async function svg(parts: object): Promise<string> {
  const spec = { background: 'white', padding: 10, config: { font: 'sans-serif' }, ...parts } as TopLevelSpec;
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  try {
    return `${await view.toSVG()}\n`;
  } finally {
    view.finalize();
  }
}
