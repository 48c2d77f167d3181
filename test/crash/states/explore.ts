/**
 * `explore.js OPTIONS`, as JSON: tries the states of a log that are this process's share, and prints what it found as JSON.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { loadLog, type Operation } from '../record/log.js';
import { STEPS } from '../scenario.js';
import { checkState, type Moment } from './check.js';
import { crashStates, type StateOptions } from './states.js';

export interface ExploreOptions extends StateOptions {
  readonly log: string;
  readonly sources: string;
  /** A folder of its own. */
  readonly scratch: string;
  /** This process takes every `of`th state, from `part`. */
  readonly part: number;
  readonly of: number;
  /** Syncs that never happened. */
  readonly without?: readonly number[];
  /** Ends with this many violations. */
  readonly enough: number;
}

export interface Found {
  /** Told apart by prefix and by what was lost. */
  readonly tried: number;
  /** That look different, and were opened. */
  readonly opened: number;
  readonly violations: readonly string[];
}

function moments(log: readonly Operation[]): Moment[] {
  let done = 0;
  let inFlight = false;
  const at: Moment[] = [{ done, inFlight }];
  for (const op of log) {
    if (op.op === 'mark' && op.text.startsWith('begin ')) inFlight = true;
    if (op.op === 'mark' && op.text.startsWith('done ')) {
      inFlight = false;
      done++;
    }
    at.push({ done, inFlight });
  }
  return at;
}

async function explore(options: ExploreOptions): Promise<Found> {
  const log = loadLog(options.log).map((op, i): Operation =>
    options.without?.includes(i) === true ? { op: 'mark', text: 'nothing' } : op,
  );
  const when = moments(log);
  const seen = new Set<string>();
  const violations: string[] = [];
  let tried = 0;
  let opened = 0;
  for (const { prefix, what, disk } of crashStates(log, options)) {
    tried++;
    const moment = when[prefix];
    const ways =
      moment.inFlight && STEPS[moment.done].removes === true ? (['same', 'import'] as const) : (['same'] as const);
    for (const again of ways) {
      const key = `${disk.fingerprint()} ${moment.done} ${moment.inFlight} ${again}`;
      if (seen.has(key)) continue;
      seen.add(key);
      if (seen.size % options.of !== options.part) continue;
      const root = join(options.scratch, `${opened++}`);
      disk.writeTo(root);
      try {
        await checkState(root, options.sources, moment, again);
      } catch (error) {
        const step = moment.inFlight ? `in "${STEPS[moment.done].what}"` : `after ${moment.done} steps`;
        const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
        violations.push(`crash ${step} after ${prefix} operations, ${what}, then ${again}: ${text}`);
        if (violations.length >= options.enough) return { tried, opened, violations };
      } finally {
        rmSync(root, { recursive: true, force: true });
      }
    }
  }
  return { tried, opened, violations };
}

const options = JSON.parse(process.argv[2]) as ExploreOptions;
mkdirSync(options.scratch, { recursive: true });
const found = await explore(options);
process.stdout.write(JSON.stringify(found));
