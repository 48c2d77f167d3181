/**
 * `rounds.js ROOT SOURCES OPTIONS`: does one command again and again in a recorded store, each time with another request
 * that fails, and looks at what came of it. Prints what was wrong as JSON.
 */
import { existsSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LayerfsError, openStore, type Store } from 'layerfs';
import { COUNT, FAULT } from '../record/log.js';
import { changeUpper, makeSources } from '../scenario.js';
import { opened, verify } from '../states/check.js';

export interface RoundOptions {
  readonly command: 'import' | 'commit' | 'snapshot';
  readonly errno: number;
  readonly how: 'once' | 'on';
  readonly kinds: 'changes' | 'space' | 'change' | 'open';
  /** At most so many rounds, spread over all requests; Infinity is not JSON: 0 for every request. */
  readonly rounds: number;
}

export interface RoundsFound {
  /** Requests of the command that could fail. */
  readonly requests: number;
  readonly rounds: number;
  readonly failed: number;
  /** Error codes with how often there were. */
  readonly codes: Record<string, number>;
  readonly wrong: readonly string[];
}

const HANG = 60_000;

const [root, sources, given] = process.argv.slice(2);
const options = JSON.parse(given) as RoundOptions;
const tell = (name: string): boolean => existsSync(join(root, name));

async function command(): Promise<void> {
  const store = await openStore({ root });
  try {
    if (options.command === 'import') await store.import(join(sources, 'large'), { name: 'new' });
    else if (options.command === 'commit') await store.commit('s', 'new');
    else await store.createSnapshot('a', { name: 'new' });
  } finally {
    await store.close();
  }
}

async function undo(store: Store): Promise<void> {
  if (options.command === 'snapshot') await store.removeSnapshot('new');
  else await store.removeImage('new');
  await store.gc();
}

/** Everything but the records, and locks that are only there or not. */
function listing(): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => !path.startsWith('meta/') && !/^objects\/..$/.test(path))
    .toSorted();
}

function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(root) ? [path] : [];
    } catch {
      // The folder's own.
      return [];
    }
  });
}

/** Maps of files that nobody closed would keep them, and their space. */
function mappedFiles(): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(root)).length;
}

/** Waits for it, unless it hangs. */
async function bounded(action: Promise<void>): Promise<unknown> {
  const end = new AbortController();
  const hang = sleep(HANG, new Error('hangs'), { signal: end.signal }).catch(() => undefined);
  try {
    return await Promise.race([action.then(() => undefined), hang]);
  } catch (error) {
    return error;
  } finally {
    end.abort();
  }
}

const wrong: string[] = [];
const codes: Record<string, number> = {};
let failed = 0;

async function round(at: number): Promise<void> {
  const complain = (text: string): void => {
    wrong.push(`request ${at}: ${text}`);
  };
  const before = listing();
  const maps = mappedFiles();
  tell(`${FAULT}${at}:${options.errno}:${options.how}:${options.kinds}`);
  const error = await bounded(command());
  tell(FAULT);
  if (error !== undefined) {
    failed++;
    if (!(error instanceof LayerfsError)) complain(`no error of ours: ${JSON.stringify(error)}`);
    else {
      codes[error.code] = (codes[error.code] ?? 0) + 1;
      if (error.code === 'internal' || error.code === 'corrupt') complain(`${error.code}: ${error.message}`);
    }
  }
  if (openFiles().length > 0) complain(`left open: ${openFiles().join(' ')}`);
  if (mappedFiles() > maps) complain(`${mappedFiles() - maps} more maps than before`);
  let had = false;
  await opened(root, async (meta, store) => {
    await verify(root, meta);
    had =
      store.images().some(({ name }) => name === 'new:latest') || store.snapshots().some(({ name }) => name === 'new');
    // It may have been done all the same, when the error came with the very last.
    if (had) await undo(store);
    else if (error === undefined) complain('done, and not there');
  });
  const after = listing();
  const left = after.filter((path) => !before.includes(path));
  if (left.length > 0) complain(`left: ${left.join(' ')}`);
  if (before.some((path) => !after.includes(path))) complain('something is gone');
  await command();
  await opened(root, async (meta, store) => {
    await verify(root, meta);
    await undo(store);
  });
}

makeSources(sources);
const store = await openStore({ root });
await store.import(join(sources, 'small'), { name: 'a' });
changeUpper((await store.createSnapshot('a', { name: 's' })).upper);
await store.close();

// Without a fault, and with one that never comes.
await command();
await opened(root, (_, again) => undo(again));
tell(`${FAULT}1000000000:${options.errno}:${options.how}:${options.kinds}`);
await command();
const requests = statSync(join(root, COUNT)).size;
tell(FAULT);
await opened(root, (_, again) => undo(again));

const stride = options.rounds === 0 ? 1 : Math.max(1, requests / options.rounds);
let rounds = 0;
for (let at = 1; at <= requests && wrong.length < 10; at += stride, rounds++) await round(Math.floor(at));
const found: RoundsFound = { requests, rounds, failed, codes, wrong };
process.stdout.write(JSON.stringify(found));
