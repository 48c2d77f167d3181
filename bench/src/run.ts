/** Runs benchmarks one after the other; one that fails does not keep the others from running. */
import { BENCHMARKS } from './benchmarks.js';
import { Data } from './data/data.js';
import { Bench, type Benchmark, type Settings } from './harness/bench.js';
import type { Figure } from './harness/figure.js';
import type { Note } from './harness/note.js';
import { turn } from './harness/release.js';
import { asText, tables } from './harness/table.js';

/** What came of it. */
export interface Outcome {
  readonly figures: readonly Figure[];
  readonly notes: readonly Note[];
  /** What each took, by name. */
  readonly seconds: Readonly<Record<string, number>>;
  /** Names of those that failed. */
  readonly failed: readonly string[];
}

/**
 * @param names all when empty
 * @param keep called after each benchmark with what there is up to then
 */
export async function runBenchmarks(
  names: readonly string[],
  settings: Settings,
  keep: (outcome: Outcome) => void,
): Promise<Outcome> {
  const data = new Data(settings.quick ? 4 : 40);
  const figures: Figure[] = [];
  const notes: Note[] = [];
  const seconds: Record<string, number> = {};
  const failed: string[] = [];
  const outcome: Outcome = { figures, notes, seconds, failed };
  try {
    for (const benchmark of BENCHMARKS) {
      if (names.length > 0 && !names.includes(benchmark.name)) continue;
      const bench = new Bench(benchmark.name, settings, data);
      try {
        const took = await runOne(benchmark, bench);
        if (took === undefined) continue;
        seconds[benchmark.name] = Math.round(took);
        figures.push(...bench.figures);
        notes.push(...bench.notes);
        keep(outcome);
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
  return outcome;
}

/** @returns the seconds that it took; undefined when it is left out */
async function runOne(benchmark: Benchmark, bench: Bench): Promise<number | undefined> {
  if (benchmark.needsRoot && process.geteuid?.() !== 0) {
    bench.say('left out: needs root, to mount the peers');
    return undefined;
  }
  const started = performance.now();
  await benchmark.run(bench);
  for (const table of tables(bench.figures, bench.notes)) console.log(`\n${asText(table)}`);
  const seconds = (performance.now() - started) / 1000;
  console.log(`\n${benchmark.name}: done in ${seconds.toFixed(0)} s\n`);
  return seconds;
}
