const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** A number of bytes for people, in powers of 1000 as `docker images` shows it. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0
    ? `${value} B`
    : `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0)} ${UNITS[unit]}`;
}

/** Bytes from text: `500`, `64k`, `1.5G`, `10GiB`. Letters count in powers of 1024. Undefined when it is no size. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?b)?$/i.exec(text.trim());
  if (match === null) return undefined;
  const power = ['', 'k', 'm', 'g', 't', 'p'].indexOf((match[2] ?? '').toLowerCase());
  const size = Math.floor(Number(match[1]) * 1024 ** power);
  return Number.isSafeInteger(size) ? size : undefined;
}

/** Milliseconds from text: `30d`, `12h`, `45m`, `90s`. Undefined when it is no time. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([smhdw])$/i.exec(text.trim());
  if (match === null) return undefined;
  const unit = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }[match[2].toLowerCase()] ?? 0;
  const time = Math.round(Number(match[1]) * unit * 1000);
  return Number.isSafeInteger(time) ? time : undefined;
}

/** Seconds for people: `5 s`, `2:05`, `1:02:05`. */
export function formatTime(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (value: number): string => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** A number with its noun: `1 layer`, `3 layers`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** The first 12 hex digits of a digest, as people know them from docker. */
export function shortDigest(digest: string): string {
  return digest.replace(/^sha256:/, '').slice(0, 12);
}

/** How long ago, in the largest unit that fits. */
export function formatAge(iso: string | undefined, now = Date.now()): string {
  if (iso === undefined) return '-';
  const seconds = (now - Date.parse(iso)) / 1000;
  if (!Number.isFinite(seconds)) return '-';
  const steps: readonly (readonly [number, string])[] = [
    [60, 'second'],
    [60, 'minute'],
    [24, 'hour'],
    [30, 'day'],
    [12, 'month'],
    [Number.POSITIVE_INFINITY, 'year'],
  ];
  let value = Math.max(0, seconds);
  for (const [size, name] of steps) {
    if (value < size) {
      const whole = Math.floor(value);
      return `${plural(whole, name)} ago`;
    }
    value /= size;
  }
  return '-';
}

/** Rows as aligned columns; a column of numbers is given as `right`. The last column is not padded. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) =>
          right.includes(i) ? cell.padStart(widths[i]) : i === row.length - 1 ? cell : cell.padEnd(widths[i]),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Text that may have several lines, such as a Dockerfile's RUN, on one. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
