import type { Benchmark } from './harness/bench.js';
import { containers } from './work/containers.js';
import { curves } from './curves/curves.js';
import { disk } from './work/disk.js';
import { files } from './work/files.js';
import { importing } from './work/import.js';
import { manyContainers } from './work/many-containers.js';
import { micro } from './micro/micro.js';
import { passthrough } from './work/passthrough.js';
import { pulling } from './work/pull.js';
import { reading } from './work/read.js';
import { requests } from './work/requests.js';
import { rootless } from './work/rootless.js';
import { scale } from './work/scale.js';
import { snapshot } from './work/snapshot.js';
import { using } from './work/use.js';
import { writing } from './work/write.js';

/** All there are, in the order in which they run. */
export const BENCHMARKS: readonly Benchmark[] = [
  micro,
  importing,
  pulling,
  reading,
  files,
  passthrough,
  requests,
  writing,
  using,
  rootless,
  snapshot,
  containers,
  manyContainers,
  ...curves,
  scale,
  disk,
];

/** Those that a name on the command line stands for: one, or all that begin with it and a hyphen, as `curves` does. */
export function benchmarksNamed(name: string): string[] {
  const names = BENCHMARKS.map((benchmark) => benchmark.name);
  return names.includes(name) ? [name] : names.filter((each) => each.startsWith(`${name}-`));
}
