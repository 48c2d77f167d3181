import Benchmarkjs from 'benchmark';
import { median } from '../harness/figure.js';
import type { Benchmark } from '../harness/bench.js';
import { bytesPerCall } from './allocation.js';
import { makeCases } from './cases.js';

/** Operations of the hot paths that run in JavaScript. */
export const micro: Benchmark = {
  name: 'micro',
  about: 'operations of the hot paths that run in JavaScript: how many a second, and bytes allocated by each',
  needsRoot: false,
  async run(bench) {
    const cases = await makeCases();
    await bench.compare(
      'operations a second',
      cases.map(({ name, run }) => ({ name, kind: 'ours', run: () => perSecond(run, bench.quick ? 0.02 : 0.25) })),
      { rounds: bench.rounds(5), unit: 'op/s' },
    );
    for (const { name, run } of cases) {
      const values: number[] = [];
      for (let i = 0; i < (bench.quick ? 1 : 3); i++) values.push(await bytesPerCall(run));
      bench.once('bytes of heap allocated by each', name, 'ours', 'B', median(values));
    }
  },
};

/** One round of the package benchmark: it calibrates, samples, and gives the mean. @param maxTime seconds */
function perSecond(action: () => void, maxTime: number): number {
  const bench = new Benchmarkjs('', action, { maxTime, minTime: maxTime / 10 });
  bench.run();
  const failure = (bench as { error?: Error }).error;
  if (failure !== undefined) throw failure;
  return bench.hz;
}
