/** The report of a run: Markdown with a table for all that was done, and plots beside it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Figure } from '../harness/figure.js';
import { tables, type Table } from '../harness/table.js';
import { notIdle } from './machine.js';
import { plotCurve, plotRatios } from './plots.js';
import type { Results } from './results.js';

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
export function comparisons(figures: readonly Figure[]): Map<string, Figure[]> {
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
    ...partLines(results),
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
    for (const table of tables(own, results.notes)) {
      lines.push(`### ${table.title}`, '', ...markdown(table), '');
      if (table.notes.length > 0) lines.push(...table.notes.map((note) => `- ${note}`), '');
    }
    const prefix = `${name}-${benchmark}`;
    const files = [...plots.keys()].filter((file) => file === `${prefix}.svg` || file.startsWith(`${prefix}-`));
    for (const file of files) lines.push(`![${basename(file, '.svg')}](${file})`, '');
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

/** What each run of a merged file gave. */
function partLines({ parts = [] }: Results): string[] {
  return parts.map(({ date, command, machine, benchmarks }) => {
    const warning = notIdle(machine);
    const idle = warning === undefined ? '' : ` **(${warning})**`;
    return `- ${benchmarks.join(', ')}: \`${command}\`, ${date.slice(0, 16).replace('T', ' ')}, layerfs at ${machine.commit}${idle}`;
  });
}

/** What it was measured on; of a merged file, what each run was of, and which of them were disturbed. */
export function machineLines({ machine, quick, parts = [] }: Results): string[] {
  const { cpu, cores, memory, kernel, disk, node, commit, peers, load, busy } = machine;
  const versions = Object.entries(peers).map(([program, version]) => `${program} ${version}`);
  const commits = parts.length === 0 ? [commit] : [...new Set(parts.map((part) => part.machine.commit))];
  const runs = parts.length === 0 ? [{ machine, benchmarks: [] }] : parts;
  return [
    `- ${cores} processors (${cpu}), ${(memory / 1024).toFixed(0)} GiB, disk ${disk}, Linux ${kernel}, Node ${node}`,
    `- layerfs at ${commits.join(', ')}; ${versions.join(', ')}`,
    ...(parts.length === 0
      ? [`- at the start: load ${load.toFixed(2)}, others took ${(busy * 100).toFixed(0)} % of the processors`]
      : []),
    ...runs.flatMap((run) => {
      const warning = notIdle(run.machine);
      return warning === undefined ? [] : [`- **${[...run.benchmarks, warning].join(', ')}**`];
    }),
    ...(quick ? ['- **a quick run: small data, few rounds; its figures mean nothing**'] : []),
  ];
}

/** A table; its first column is text, the others are numbers. */
export function markdown({ rows }: Table): string[] {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const [head, ...body] = rows;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...body.map(line)];
}
