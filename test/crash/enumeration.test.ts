/**
 * Every state in which a crash can leave the store, as far as it can be enumerated: a scenario of imports, snapshots,
 * commits and removals is recorded, system call by system call; then the store is put together as a disk may have it after
 * each of them, opened, and looked through. With LAYERFS_CRASH_LONG=1 all states, and random ones that LAYERFS_CRASH_SEED
 * gives; otherwise some thousands of them. Then every sync is left out once.
 */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missing } from '../support/needs.js';
import { scratchFolder } from '../support/scratch.js';
import { loadLog, type Operation } from './record/log.js';
import { built, Recording } from './record/record.js';
import type { ExploreOptions, Found } from './states/explore.js';

const LONG = process.env['LAYERFS_CRASH_LONG'] === '1';
const SEED = Number(process.env['LAYERFS_CRASH_SEED'] ?? 1);
const MINUTES = 60_000;
const run = promisify(execFile);

const reason = missing('fuse');
if (reason !== undefined) console.warn(`skipped: states after a crash: ${reason}`);

describe.skipIf(reason !== undefined)('states after a crash', () => {
  const scratch = scratchFolder('layerfs-crash-');
  const sources = join(scratch, 'sources');
  let recording: Recording;
  let log: Operation[];

  beforeAll(async () => {
    recording = await Recording.start(join(scratch, 'recording'));
    try {
      await recording.run('record/driver.js', recording.mountpoint, sources);
    } finally {
      await recording.end();
    }
    log = loadLog(recording.log);
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  let explorations = 0;
  async function explore(options: Partial<ExploreOptions>): Promise<Found> {
    const all: ExploreOptions = {
      log: recording.log,
      sources,
      scratch: join(scratch, `states-${explorations++}`),
      part: 0,
      of: 1,
      seed: SEED,
      samples: LONG ? 8 : 0,
      stride: LONG ? 1 : 512,
      enough: 5,
      ...options,
    };
    const { stdout } = await run(process.execPath, [built('states/explore.js'), JSON.stringify(all)], {
      maxBuffer: 1 << 24,
    });
    return JSON.parse(stdout) as Found;
  }

  test('all that was done is there, the rest can go, and can be done again', { timeout: 180 * MINUTES }, async () => {
    // They wait for the disk now and then.
    const of = 2 * availableParallelism();
    const found = await Promise.all(Array.from({ length: of }, (_, part) => explore({ part, of })));
    expect(found.flatMap(({ violations }) => violations)).toEqual([]);
    const opened = found.reduce((sum, each) => sum + each.opened, 0);
    console.log(`${log.length} operations, ${found[0].tried} states, ${opened} different ones opened`);
    expect(opened).toBeGreaterThan(LONG ? 5000 : 2000);
  });

  /** The operations of one step: from its beginning to that of the next. */
  function step(index: number): { from: number; to: number } {
    const at = (text: string): number => log.findIndex((op) => op.op === 'mark' && op.text === text);
    return { from: at(`begin ${index}`), to: at(`done ${index}`) };
  }
  /** Where the operations of a kind are within a step. */
  function all(index: number, is: (op: Operation) => boolean): number[] {
    const { from, to } = step(index);
    return log.flatMap((op, i) => (i >= from && i < to && is(op) ? [i] : []));
  }
  const find = (index: number, is: (op: Operation) => boolean, n: number): number => all(index, is).at(n) ?? -1;
  const syncfs = ({ op }: Operation): boolean => op === 'sync-end';
  const fsync = ({ op }: Operation): boolean => op === 'sync';
  /** Whether an operation is a sync of a file that was made with a name. */
  const syncOf =
    (...names: string[]) =>
    (op: Operation): boolean =>
      op.op === 'sync' && log.some((each) => each.op === 'create' && each.id === op.id && names.includes(each.name));
  const records = syncOf('records');
  /** To which transactions of the records are written first. */
  const journal = syncOf('records-wal');
  function recordsBeforeRemoval(index: number): number[] {
    const first = find(index, ({ op }) => op === 'rename', 0);
    return all(index, (op) => records(op) || journal(op)).filter((i) => i < first);
  }

  // Each sync of the protocol is needed: where one did not happen, the enumeration finds out.
  const planted: [what: string, without: () => number[]][] = [
    ['the version of a new store', () => [find(0, fsync, 0)]],
    ['the records of a new store', () => all(0, records).filter((i) => i < find(0, ({ op }) => op === 'link', 0))],
    ...[0, 1, 5].flatMap((index): typeof planted => [
      // Those in the background also count, of which there are more on a slow machine.
      [`what import ${index} wrote`, () => all(index, syncfs).slice(0, -1)],
      [`what import ${index} moved`, () => [find(index, syncfs, -1)]],
      [`the transaction of import ${index}`, () => all(index, journal)],
      [`the records of import ${index}`, () => [find(index, records, -1)]],
    ]),
    ['the manifest of an image that is imported again', () => all(2, syncfs).slice(0, -1)],
    ['the upper folder of a snapshot', () => [find(4, fsync, 0)]],
    ['the folder of a snapshot', () => [find(4, fsync, 1)]],
    ['the folder of snapshots', () => [find(4, fsync, 2)]],
    ['what is recorded of a removal before anything is taken away', () => recordsBeforeRemoval(6)],
    ['a merged tree that is made on demand', () => [find(8, fsync, 0)]],
  ];
  test.concurrent.each(planted)('%s, not synced: found', { timeout: 10 * MINUTES }, async (_, at) => {
    const without = at();
    expect(Math.min(...without)).toBeGreaterThan(0);
    const from = Math.min(...without);
    const end = log.findIndex(({ op }, i) => op === 'mark' && i > Math.max(...without));
    try {
      const { violations } = await explore({ without, from, to: end + 15, samples: 2, stride: 1, enough: 1 });
      expect(violations).not.toEqual([]);
    } catch (error) {
      // Records that were torn can end the process that opens them.
      if ((error as { signal?: string | null }).signal == null) throw error;
    }
  });
});
