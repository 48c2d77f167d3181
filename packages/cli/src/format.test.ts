import { describe, expect, test } from 'vitest';
import { formatAge, formatBytes, formatTime, oneLine, parseSize, plural, shortDigest, table } from './format.js';

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.00 kB'],
  [9_994, '9.99 kB'],
  [12_345, '12.3 kB'],
  [999_499, '999 kB'],
  [999_500, '1.00 MB'],
  [8.5e9, '8.50 GB'],
  [2 ** 53, '9.01 PB'],
])('%d bytes are shown as %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each([
  ['500', 500],
  ['64k', 65_536],
  ['1.5G', 1_610_612_736],
  ['10GiB', 10_737_418_240],
  ['20gb', 21_474_836_480],
  [' 3 M ', 3_145_728],
])('%j is a size', (text, bytes) => expect(parseSize(text)).toBe(bytes));

test.each(['', 'G', '-1', '1e3', '0x10', '12 bananas', '1.2.3', '9999999P', 'Infinity'])('%j is no size', (text) =>
  expect(parseSize(text)).toBeUndefined(),
);

describe('ages', () => {
  const now = Date.parse('2026-11-21T12:00:00Z');
  test.each([
    ['2026-11-21T11:59:59Z', '1 second ago'],
    ['2026-11-21T11:58:00Z', '2 minutes ago'],
    ['2026-11-20T12:00:00Z', '1 day ago'],
    ['2026-05-01T00:00:00Z', '6 months ago'],
    ['2001-01-01T00:00:00Z', '26 years ago'],
    // A clock that is ahead, and times that are none.
    ['2027-01-01T00:00:00Z', '0 seconds ago'],
    ['yesterday', '-'],
    [undefined, '-'],
  ])('%s', (iso, text) => expect(formatAge(iso, now)).toBe(text));
});

test('columns are as wide as their longest cell, and lines end without spaces', () => {
  expect(
    table(
      [
        ['NAME', 'SIZE', 'NOTE'],
        ['a', '10 kB', ''],
        ['longer', '1 B', 'kept'],
      ],
      [1],
    ),
  ).toBe('NAME     SIZE  NOTE\na       10 kB\nlonger    1 B  kept');
});

test('small words', () => {
  expect(plural(1, 'layer')).toBe('1 layer');
  expect(plural(0, 'entry', 'entries')).toBe('0 entries');
  expect(shortDigest(`sha256:${'ab'.repeat(32)}`)).toBe('abababababab');
  expect(oneLine('RUN a && \\\n\tb  \n')).toBe('RUN a && \\ b');
});

test.each([
  [0, '0 s'],
  [0.2, '1 s'],
  [59, '59 s'],
  [60, '1:00'],
  [125, '2:05'],
  [3725, '1:02:05'],
])('%f seconds', (seconds, text) => expect(formatTime(seconds)).toBe(text));
