/** How many bytes of heap an operation allocates. */
import { PerformanceObserver } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { turn } from '../harness/release.js';

/** Tries with fewer calls before giving up. */
const TRIES = 20;
const WARM_MILLIS = 300;
const MOST_CALLS = 20_000;

/**
 * Bytes allocated by one call: the heap's growth (and that of array buffers) over many calls between which no garbage was
 * collected, as Node's own observer tells. An operation whose bytes V8 keeps out of the heap in optimised code counts as it
 * runs then: after thousands of calls, where it is quick.
 */
export async function bytesPerCall(action: () => void): Promise<number> {
  const warm = warmUp(action);
  const collections: unknown[] = [];
  const observer = new PerformanceObserver((list) => collections.push(...list.getEntries()));
  observer.observe({ entryTypes: ['gc'] });
  try {
    for (let calls = warm, i = 0; i < TRIES; i++, calls = Math.max(1, calls >> 1)) {
      collectGarbage();
      await settle();
      collections.length = 0;
      const before = used();
      for (let call = 0; call < calls; call++) action();
      const grown = used() - before;
      await settle();
      if (collections.length === 0) return Math.max(0, grown) / calls;
    }
  } finally {
    observer.disconnect();
  }
  return Number.NaN;
}

/** Until it is optimised, or takes too long. @returns how many calls that were */
function warmUp(action: () => void): number {
  const end = performance.now() + WARM_MILLIS;
  let calls = 0;
  for (; calls < MOST_CALLS && (calls < 10 || performance.now() < end); calls++) action();
  return calls;
}

function used(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** The observer is told after the collection, in a turn of the event loop. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await turn();
}

let collect: (() => void) | undefined;

function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}
