import { LayerfsError } from 'layerfs';
import { expect, test } from 'vitest';
import { parseFilters } from './filter.js';
import type { SnapshotInfo } from './snapshotter.js';

const info: SnapshotInfo = {
  kind: 'active',
  name: 'default/3/a key, with "all"',
  parent: 'sha256:base',
  labels: { plain: 'yes', 'containerd.io/gc.root': '2026', empty: '', 'a.b': 'dots' },
  created: 0n,
  updated: 0n,
};

test('a base has an empty parent', () => {
  const { parent: _, ...base } = info;
  const passes = parseFilters(['labels."containerd.io/gc.root"==2026,parent==""']);
  expect([passes(base), passes(info)]).toEqual([true, false]);
});

test.each([
  [[], true],
  [[''], true],
  [['kind==active'], true],
  [['kind==view'], false],
  [['kind!=view'], true],
  [['kind==view', 'kind==active'], true],
  [['kind==active,parent==sha256:base'], true],
  [['kind==active,parent==other'], false],
  [['parent'], true],
  [['labels.plain'], true],
  [['labels.empty'], false],
  [['labels.none'], false],
  [['labels.none!=x'], true],
  [['labels.plain==yes'], true],
  [['labels.a.b==dots'], true],
  [['labels."containerd.io/gc.root"'], true],
  [['labels."containerd.io/gc.root"==2026'], true],
  [['labels.`containerd.io/gc.root`==2026'], true],
  [['name=="default/3/a key, with \\"all\\""'], true],
  [['name==`default/3/a key, with "all"`'], true],
  [['name~=^default/[0-9]+/'], true],
  [['name~=/^default\\/[0-9]+\\//'], true],
  [['name~=|^default/3|'], true],
  [['name~=^other'], false],
  [['labels.plain=="\\x79es"'], true],
  [['labels.plain=="\\u0079\\145s"'], true],
  [['labels."__proto__"'], false],
  [['labels.toString'], false],
  [['size==3'], false],
  [['name.deeper'], false],
] as const)('%j: %j', (filters, passes) => {
  expect(parseFilters(filters)(info)).toBe(passes);
});

test.each([
  ['kind=', 'wants ==, !=, ~= or "," at 4'],
  ['kind==', 'wants a value at 6'],
  ['==x', 'wants a field at 0'],
  ['kind==active,', 'wants a field at 13'],
  ['kind==active parent', 'wants "," at 12'],
  ['labels.', 'wants a field at 7'],
  ['labels."open', 'has no closing quote at 7'],
  ['name~=/open', 'has no closing quote at 6'],
  ['name=="\\q"', 'has a bad escape'],
  ['name=="\\UFFFFFFFF"', 'has a bad escape'],
  ['name~=(', 'has a bad expression'],
  [`name~=${'a'.repeat(5000)}`, 'has too long an expression'],
  [`name==${'a'.repeat(70_000)}`, 'is too long'],
])('%j is refused', (filter, says) => {
  const attempt = (): unknown => parseFilters([filter.slice(0, 80_000)]);
  expect(attempt).toThrow(LayerfsError);
  expect(attempt).toThrow(says);
});

test('an expression that would take for ever elsewhere is answered at once', () => {
  const long = { ...info, name: `${'a'.repeat(5000)}!` };
  expect(parseFilters(['name~=^(a+)+$'])(long)).toBe(false);
});
