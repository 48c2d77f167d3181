import { expect, it } from 'vitest';
import { BENCHMARKS } from './benchmarks.js';
import { parseOptions } from './options.js';

it('takes a name, or what several names begin with', () => {
  expect(parseOptions(['use'])?.names).toEqual(['use']);
  const axes = BENCHMARKS.map(({ name }) => name).filter((name) => name.startsWith('curves-'));
  expect(axes).toHaveLength(6);
  expect(parseOptions(['curves', 'read'])?.names).toEqual([...axes, 'read']);
  expect(parseOptions(['curves-mounts'])?.names).toEqual(['curves-mounts']);
});

it.each(['cur', 'curves-', 'container-', ''])('refuses %j, which names nothing', (name) => {
  expect(() => parseOptions([name])).toThrow(`no benchmark ${name}; there are`);
});

it('wants a results file for a report of a quick run', () => {
  expect(() => parseOptions(['--quick', '--report'])).toThrow('--json FILE');
});
