/** Figures as the rows of tables in documents. */
import { digits, median, type Figure } from '../harness/figure.js';
import { comparison } from '../harness/table.js';

/** One comparison: medians, spreads, ratios. */
export function comparisonRows(figures: readonly Figure[]): string[][] {
  return comparison(figures);
}

/** A row for each comparison, a column for each subject: ours first, the limit last. */
export function overviewRows(shown: readonly (readonly Figure[])[]): string[][] {
  const subjects = subjectsOf(shown);
  const rows = shown.map((figures) => {
    const [{ title, unit }] = figures;
    return [unit === 'ms' ? `${title}, ms` : `${title}, ${unit}`, ...subjects.map((subject) => cell(figures, subject))];
  });
  return [['', ...subjects], ...rows];
}

/** A row for each curve: what each subject takes at its beginning and at its end, as far as it came. */
export function growthRows(shown: readonly (readonly Figure[])[]): string[][] {
  const subjects = subjectsOf(shown);
  const rows = shown.map((figures) => {
    const places = figures.map(({ at }) => at?.value ?? 0);
    const [{ title, unit, at }] = figures;
    const [from, to] = [Math.min(...places), Math.max(...places)];
    const label = `${title}, ${unit}, at ${number(from)} and ${number(to)} ${at?.axis ?? ''}`;
    const cells = subjects.map((subject) => {
      const ends = [from, to].map((place) =>
        cell(
          figures.filter((figure) => figure.at?.value === place),
          subject,
        ),
      );
      return ends[0] === '' && ends[1] === '' ? '' : ends.map((end) => (end === '' ? '–' : end)).join(' → ');
    });
    return [label, ...cells];
  });
  return [['', ...subjects], ...rows];
}

/** Rows as columns. */
export function transposed(rows: readonly (readonly string[])[]): string[][] {
  return rows[0].map((_, i) => rows.map((row) => row[i]));
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function subjectsOf(shown: readonly (readonly Figure[])[]): string[] {
  const order = (['ours', 'peer', 'limit'] as const).flatMap((wanted) =>
    shown.flatMap((figures) => figures.filter(({ kind }) => kind === wanted)),
  );
  return [...new Set(order.map(({ subject }) => subject))];
}

function cell(figures: readonly Figure[], subject: string): string {
  const found = figures.find((figure) => figure.subject === subject);
  return found === undefined ? '' : digits(median(found.values));
}
