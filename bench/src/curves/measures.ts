/** What is measured on each mount of a curve. */
import { writeFileSync } from 'node:fs';
import { dropCaches, time, timeScript } from '../harness/programs.js';
import { READERS_SCRIPT, STATS_SCRIPT } from '../work/scripts.js';
import type { Measure } from './curve.js';

/** Everything with its attributes, the first time after mounting. */
export function walk(title: string): Measure {
  return { title, unit: 'ms', run: (root) => time(`find '${root}' -printf '%s\\n' > /dev/null`) };
}

/** Attributes of single names that the kernel does not know. @param file where the paths may be written */
export function uncachedStats(title: string, paths: readonly string[], file: string): Measure {
  writeFileSync(file, paths.join('\n'));
  return {
    title,
    unit: 'µs',
    run(root) {
      dropCaches(2);
      return timeScript(STATS_SCRIPT, root, file);
    },
  };
}

/** Files that are opened, read and closed by some threads at once. */
export function parallelReads(title: string, paths: readonly string[], file: string, readers: number): Measure {
  writeFileSync(file, paths.join('\n'));
  return {
    title,
    unit: 'files/s',
    run(root) {
      dropCaches(2);
      return timeScript(READERS_SCRIPT, root, file, String(readers));
    },
  };
}

/** One file from its beginning to its end. */
export function readFile(title: string, path: string): Measure {
  return { title, unit: 'ms', run: (root) => time(`cat '${root}/${path}' > /dev/null`) };
}
