/** Figures as rows: of a comparison, or of a curve. */
import { best, costRatio, digits, median, type Figure } from './figure.js';
import type { Note } from './note.js';

/** A table: its first row is the head. */
export interface Table {
  readonly title: string;
  readonly rows: readonly (readonly string[])[];
  /** What stands below it. */
  readonly notes: readonly string[];
}

/** One table for each thing that was done, in the order in which it was done. */
export function tables(figures: readonly Figure[], notes: readonly Note[] = []): Table[] {
  const titles = [...new Set(figures.map(({ title }) => title))];
  return titles.map((title) => {
    const own = figures.filter((figure) => figure.title === title);
    const [{ at, unit, benchmark }] = own;
    const below = notes.filter((note) => note.benchmark === benchmark && note.title === title).map(({ text }) => text);
    return at === undefined
      ? { title, rows: comparison(own), notes: below }
      : { title: `${title} (${unit})`, rows: curve(own, at.axis), notes: below };
  });
}

/** Medians, spreads, and how many times as much each costs as the best peer and as the limit. */
export function comparison(figures: readonly Figure[]): string[][] {
  const peer = best(figures.filter(({ kind }) => kind === 'peer'));
  const limit = best(figures.filter(({ kind }) => kind === 'limit'));
  const ratio = (value: number, base: number | undefined, unit: string): string =>
    base === undefined ? '' : costRatio(value, base, unit).toFixed(2);
  // Said where it differs.
  const most = Math.max(...figures.map(({ values }) => values.length));
  const fewer = figures.some(({ values }) => values.length < most);
  const rows = figures.map(({ subject, values, unit }) => {
    const middle = median(values);
    const spread = values.length === 1 ? '' : `${digits(Math.min(...values))}–${digits(Math.max(...values))}`;
    const rounds = fewer ? String(values.length) : '';
    return [subject, digits(middle), unit, spread, rounds, ratio(middle, peer, unit), ratio(middle, limit, unit)];
  });
  const all = [['', 'median', 'unit', 'min–max', 'rounds', '× best peer', '× limit'], ...rows];
  const used = all[0].map((_, i) => i === 0 || rows.some((row) => row[i] !== ''));
  return all.map((row) => row.filter((_, i) => used[i]));
}

/** A row for each place, a column for each subject. */
function curve(figures: readonly Figure[], axis: string): string[][] {
  const subjects = [...new Set(figures.map(({ subject }) => subject))];
  const places = [...new Set(figures.map(({ at }) => at?.value ?? 0))].sort((a, b) => a - b);
  const cell = (subject: string, place: number): string => {
    const found = figures.find((figure) => figure.subject === subject && figure.at?.value === place);
    return found === undefined ? '' : digits(median(found.values));
  };
  const rows = places.map((place) => [
    place.toLocaleString('en-US'),
    ...subjects.map((subject) => cell(subject, place)),
  ]);
  return [[axis, ...subjects], ...rows];
}

/** For a terminal. */
export function asText({ title, rows, notes }: Table): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd(),
  );
  return [title, ...lines, ...notes.map((note) => `(${note})`)].join('\n');
}
