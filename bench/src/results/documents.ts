/**
 * Tables in README and docs that are made of results files. Each stands between `<!-- bench: {…} -->`, which says what it shows
 * ({@link Block}), and `<!-- bench: end -->`.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { TOP, run } from '../harness/programs.js';
import { latestResults, RESULTS, type Latest } from './latest.js';
import { plotRatios } from './plots.js';
import { comparisons, machineLines, markdown } from './report.js';
import { comparisonRows, growthRows, overviewRows, transposed } from './rows.js';

/** What a table shows. */
export interface Block {
  /** A benchmark's name, or what several begin with (`curves`); of `machine`, what was measured on. */
  readonly of: string;
  /** `comparison` (of one title), `overview` (a row for each title), `turned` (a column for each), `growth` (of curves), `plot`. */
  readonly show: 'comparison' | 'overview' | 'turned' | 'growth' | 'plot' | 'machine';
  /** All of the benchmark when there are none. */
  readonly titles?: readonly string[];
  /** All when there are none. */
  readonly subjects?: readonly string[];
  /** `scale` for the latest `DATE-scale.json`. */
  readonly file?: string;
}

const BLOCK = /<!-- bench: (\{.*?\}) -->\n([\s\S]*?)<!-- bench: end -->/g;
/** What README's overview and plot take from: whole workloads on a mount. */
const WORKLOADS: readonly string[] = ['use', 'read', 'write', 'files'];

/** All that may have tables. */
export function documents(): string[] {
  const within = (folder: string): string[] =>
    readdirSync(join(TOP, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(TOP, folder, name));
  const packages = readdirSync(join(TOP, 'packages')).flatMap((name) => within(join('packages', name)));
  return [...within('.'), ...within('docs'), ...packages];
}

/** The text with all its tables made afresh. @param problems gets a sentence for each that cannot be made */
export function withTables(text: string, from: (file: string) => Latest | undefined, problems: string[]): string {
  return text.replaceAll(BLOCK, (whole, asked: string) => {
    try {
      const block = JSON.parse(asked) as Block;
      const lines = linesOf(block, from(block.file ?? ''));
      return `<!-- bench: ${asked} -->\n\n${lines.join('\n')}\n\n<!-- bench: end -->`;
    } catch (error) {
      problems.push(`${asked}: ${(error as Error).message}`);
      return whole;
    }
  });
}

function linesOf(block: Block, latest: Latest | undefined): string[] {
  if (latest === undefined) throw new Error('there is no results file');
  const { name, results } = latest;
  if (block.show === 'machine') {
    const { command, date } = results;
    const parts = results.parts?.flatMap((part) => `\`${part.command}\``) ?? [`\`${command}\``];
    return [`${parts.join(', ')}, ${date.slice(0, 10)}: medians.`, '', ...machineLines(results)];
  }
  if (block.show === 'plot') {
    const link = `bench/results/${name}-readme.svg`;
    const all = `All tables and plots: [bench/results/${name}.md](bench/results/${name}.md).`;
    return [`![How many times as much as a plain folder each takes](${link})`, '', all];
  }
  // `curves` are all that are called `curves-…`, as on the command line.
  const asked = (benchmark: string): boolean =>
    block.of === 'workloads'
      ? WORKLOADS.includes(benchmark)
      : benchmark === block.of || benchmark.startsWith(`${block.of}-`);
  const own = results.figures.filter(({ benchmark }) => asked(benchmark));
  const titles = block.titles ?? [...new Set(own.map(({ title }) => title))];
  const missing = titles.filter((title) => !own.some((figure) => figure.title === title));
  if (own.length === 0) return [`(\`bench/results/${name}.json\` has nothing of it.)`];
  if (missing.length > 0) throw new Error(`${name}.json has no ${missing.join(', no ')}`);
  const shown = titles.map((title) =>
    own.filter(
      (figure) => figure.title === title && (block.subjects === undefined || block.subjects.includes(figure.subject)),
    ),
  );
  const rows = {
    comparison: () => comparisonRows(shown.flat()),
    overview: () => overviewRows(shown),
    turned: () => transposed(overviewRows(shown)),
    growth: () => growthRows(shown),
  }[block.show]();
  const notes = (results.notes ?? []).filter(({ benchmark, title }) => asked(benchmark) && titles.includes(title));
  const below = notes.map(({ title, text }) => `- ${title}: ${text}`);
  if (block.of === 'workloads') return lines(rows, below);
  const parts = results.parts?.filter(({ benchmarks }) => benchmarks.some(asked)) ?? [results];
  const commands = [...new Set(parts.map(({ command }) => `\`${command}\``))].join(', ');
  return [...lines(rows, below), '', `(${commands}, ${parts[0].date.slice(0, 10)}, \`bench/results/${name}.json\`)`];
}

function lines(rows: readonly (readonly string[])[], below: readonly string[]): string[] {
  return [...markdown({ title: '', rows, notes: [] }), ...(below.length > 0 ? ['', ...below] : [])];
}

/** Makes all tables afresh, and the README's plot. @returns the files that were written @throws Error naming what cannot be made */
export async function updateDocuments(): Promise<string[]> {
  const problems: string[] = [];
  const written: string[] = [];
  for (const file of documents()) {
    const text = readFileSync(file, 'utf8');
    const updated = withTables(text, latestResults, problems);
    if (updated === text) continue;
    writeFileSync(file, updated);
    written.push(file);
  }
  const latest = latestResults();
  if (latest !== undefined) {
    const plot = join(RESULTS, `${latest.name}-readme.svg`);
    const figures = latest.results.figures.filter(({ benchmark }) => WORKLOADS.includes(benchmark));
    writeFileSync(plot, await plotRatios('layerfs and its peers', comparisons(figures)));
    written.push(plot);
  }
  const texts = written.filter((file) => file.endsWith('.md'));
  // As all Markdown here is formatted.
  if (texts.length > 0) run(join(TOP, 'node_modules/.bin/prettier'), '--write', ...texts);
  if (problems.length > 0) throw new Error(`tables that cannot be made:\n${problems.join('\n')}`);
  return written.map((file) => relative(process.cwd(), file));
}
