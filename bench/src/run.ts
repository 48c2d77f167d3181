/** Runs benchmarks one after the other; one that fails does not keep the others from running. */
import { BENCHMARKS } from './benchmarks.js';
import { Data } from './data/data.js';
import { Bench, type Benchmark, type Settings } from './harness/bench.js';
import type { Figure } from './harness/figure.js';
import { turn } from './harness/release.js';
import { asText, tables } from './harness/table.js';

/** What came of it. */
export interface Outcome {
  readonly figures: readonly Figure[];
  /** Names of those that failed. */
  readonly failed: readonly string[];
}

/**
 * @param names all when empty
 * @param keep called after each benchmark with all figures up to then
 */
export async function runBenchmarks(
  names: readonly string[],
  settings: Settings,
  keep: (figures: readonly Figure[]) => void,
): Promise<Outcome> {
  const data = new Data(settings.quick ? 4 : 40);
  const figures: Figure[] = [];
  const failed: string[] = [];
  try {
    for (const benchmark of BENCHMARKS) {
      if (names.length > 0 && !names.includes(benchmark.name)) continue;
      const bench = new Bench(benchmark.name, settings, data);
      try {
        await runOne(benchmark, bench);
        figures.push(...bench.figures);
        keep(figures);
      } catch (error) {
        // An interrupt ended a program that was waited for: this process ends now, too.
        await turn();
        console.error(`${benchmark.name}: failed:`, error);
        failed.push(benchmark.name);
      }
    }
  } finally {
    data.release();
  }
  return { figures, failed };
}

async function runOne(benchmark: Benchmark, bench: Bench): Promise<void> {
  if (benchmark.needsRoot && process.geteuid?.() !== 0) {
    bench.say('left out: needs root, to mount the peers');
    return;
  }
  const started = performance.now();
  await benchmark.run(bench);
  for (const table of tables(bench.figures)) console.log(`\n${asText(table)}`);
  console.log(`\n${benchmark.name}: done in ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
}
