/** The report of a run: Markdown with a table for all that was done, and plots beside it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { TOP, run } from '../harness/programs.js';
import { digits, median, type Figure } from '../harness/figure.js';
import { tables, type Table } from '../harness/table.js';
import { notIdle } from './machine.js';
import { plotCurve, plotRatios } from './plots.js';
import type { Results } from './results.js';

/** Where results files, reports and plots of this repository are. */
export const RESULTS = join(TOP, 'bench/results');
const README = join(TOP, 'README.md');
const [BEGIN, END] = ['<!-- bench: begin -->', '<!-- bench: end -->'];
/** What the README shows: whole workloads on a mount. */
const IN_README: ReadonlySet<string> = new Set(['use', 'read', 'write', 'files']);

/**
 * Writes `NAME.md` and the plots `NAME-….svg` into a folder.
 * @param name the results file's, without `.json`
 * @returns the files
 */
export async function writeReport(results: Results, folder: string, name: string): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  const plots = await drawPlots(results.figures, name);
  const files = [...plots].map(([file, svg]) => {
    writeFileSync(join(folder, file), svg);
    return join(folder, file);
  });
  const report = join(folder, `${name}.md`);
  writeFileSync(report, reportText(results, name, plots));
  return [report, ...files];
}

function benchmarksOf(figures: readonly Figure[]): string[] {
  return [...new Set(figures.map(({ benchmark }) => benchmark))];
}

async function drawPlots(figures: readonly Figure[], name: string): Promise<Map<string, string>> {
  const plots = new Map<string, string>();
  const file = (text: string): string => `${name}-${text.replaceAll(/[^a-z0-9]+/gi, '-').toLowerCase()}.svg`;
  for (const benchmark of benchmarksOf(figures)) {
    const own = figures.filter((figure) => figure.benchmark === benchmark);
    const ratios = comparisons(own);
    if (ratios.size > 0) plots.set(file(benchmark), await plotRatios(benchmark, ratios));
    const curves = own.filter(({ at }) => at !== undefined);
    for (const title of new Set(curves.map((figure) => figure.title))) {
      const points = curves.filter((figure) => figure.title === title);
      plots.set(file(`${benchmark} ${title}`), await plotCurve(title, points));
    }
  }
  return plots;
}

/** Those with somebody else beside us, by title. */
function comparisons(figures: readonly Figure[]): Map<string, Figure[]> {
  const found = new Map<string, Figure[]>();
  for (const figure of figures.filter(({ at }) => at === undefined)) {
    found.set(figure.title, [...(found.get(figure.title) ?? []), figure]);
  }
  for (const [title, own] of found) if (own.every(({ kind }) => kind === 'ours')) found.delete(title);
  return found;
}

function reportText(results: Results, name: string, plots: ReadonlyMap<string, string>): string {
  const lines = [
    `# Benchmarks of ${results.date.slice(0, 10)}`,
    '',
    `\`${results.command}\``,
    '',
    ...machineLines(results),
    '',
  ];
  lines.push(
    'Medians; × best peer and × limit say how many times as much something costs as with the best peer, and as with the limit',
    '(a plain folder, or the object read directly). Bars in plots reach from the fastest to the slowest round.',
    '',
  );
  for (const benchmark of benchmarksOf(results.figures)) {
    lines.push(`## ${benchmark}`, '');
    const own = results.figures.filter((figure) => figure.benchmark === benchmark);
    for (const table of tables(own)) lines.push(`### ${table.title}`, '', ...markdown(table), '');
    const prefix = `${name}-${benchmark}`;
    const files = [...plots.keys()].filter((file) => file === `${prefix}.svg` || file.startsWith(`${prefix}-`));
    for (const file of files) lines.push(`![${basename(file, '.svg')}](${file})`, '');
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

function machineLines({ machine, quick }: Results): string[] {
  const { cpu, cores, memory, kernel, disk, node, commit, peers, load, busy } = machine;
  const versions = Object.entries(peers).map(([program, version]) => `${program} ${version}`);
  const warning = notIdle(machine);
  return [
    `- ${cores} processors (${cpu}), ${(memory / 1024).toFixed(0)} GiB, disk ${disk}, Linux ${kernel}, Node ${node}`,
    `- layerfs at ${commit}; ${versions.join(', ')}`,
    `- at the start: load ${load.toFixed(2)}, others took ${(busy * 100).toFixed(0)} % of the processors`,
    ...(warning === undefined ? [] : [`- **${warning}**`]),
    ...(quick ? ['- **a quick run: small data, few rounds; its figures mean nothing**'] : []),
  ];
}

function markdown({ rows }: Table): string[] {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const [head, ...body] = rows;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...body.map(line)];
}

/** Puts the latest table and one plot into the README. @throws Error when the README has no place for them */
export async function updateReadme(results: Results, name: string): Promise<string[]> {
  const figures = results.figures.filter(({ benchmark }) => IN_README.has(benchmark));
  const shown = comparisons(figures);
  const plot = join(RESULTS, `${name}-readme.svg`);
  writeFileSync(plot, await plotRatios('layerfs and its peers', shown));
  const text = [
    `\`${results.command}\`, ${results.date.slice(0, 10)}: medians, in milliseconds unless a row says otherwise.`,
    '',
    ...machineLines(results),
    '',
    ...markdown({ title: '', rows: overview([...shown.values()]) }),
    '',
    `![How many times as much as a plain folder each takes](bench/results/${name}-readme.svg)`,
    '',
    `All tables and plots: [bench/results/${name}.md](bench/results/${name}.md).`,
  ].join('\n');
  const readme = readFileSync(README, 'utf8');
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${README} has no place for figures: ${BEGIN} and ${END}`);
  writeFileSync(README, `${readme.slice(0, begin + BEGIN.length)}\n\n${text}\n\n${readme.slice(end)}`);
  // As all Markdown here is formatted.
  run(join(TOP, 'node_modules/.bin/prettier'), '--write', README);
  return [README, plot];
}

/** A row for each comparison, a column for each subject. */
function overview(shown: readonly (readonly Figure[])[]): string[][] {
  const order = (['ours', 'peer', 'limit'] as const).flatMap((wanted) =>
    shown.flatMap((figures) => figures.filter(({ kind }) => kind === wanted)),
  );
  const subjects = [...new Set(order.map(({ subject }) => subject))];
  const rows = shown.map((figures) => {
    const [{ title, unit }] = figures;
    const cells = subjects.map((subject) => {
      const found = figures.find((figure) => figure.subject === subject);
      return found === undefined ? '' : digits(median(found.values));
    });
    return [unit === 'ms' ? title : `${title}, ${unit}`, ...cells];
  });
  return [['', ...subjects], ...rows];
}
