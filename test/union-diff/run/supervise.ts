/** Prepares the lowers, starts workers, and watches that they go on: an operation that never returns cannot say so itself. */
import { fork, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeLayout, writeLowerFolders } from '../lower/lowers.js';
import { IMAGE, runLayerfs } from '../subjects/layerfs.js';
import type { Lowers } from '../subjects/subject.js';
import type { Job } from './child.js';
import { abortMounts, removeTree } from './pair.js';

/** A folder in memory where there is one, open to all users as far as passing through goes. */
export function newArea(): string {
  const memory = process.env['LAYERFS_DIFF_AREA'] ?? process.env['LAYERFS_TEST_MEMORY'];
  const area = mkdtempSync(join(memory ?? '/dev/shm', 'layerfs-union-diff-'));
  chmodSync(area, 0o755);
  return area;
}

export { removeTree as removeArea };

export async function prepareLowers(area: string, subject: string): Promise<Lowers> {
  const folders = writeLowerFolders(join(area, 'lower'));
  if (subject !== 'layerfs') return { folders };
  const layout = join(area, 'layout');
  const store = join(area, 'store');
  mkdirSync(layout);
  await writeLayout(layout);
  runLayerfs(store, 'import', layout, '--name', IMAGE);
  return { folders, store };
}

export interface Supervised {
  readonly job: Job;
  readonly progressFile: string;
  /** Where it mounts. */
  readonly folder: string;
  /** How long nothing may happen, in milliseconds. */
  readonly patience?: number;
}

/** So long may one operation, or one mount, take. */
export const PATIENCE = 60_000;
const CHILD = fileURLToPath(new URL('child.js', import.meta.url));

const running = new Set<ChildProcess>();

/** Ends everything at once, and leaves nothing behind. */
export function giveUp(area: string): void {
  abortMounts(area);
  for (const child of running) child.kill('SIGKILL');
  removeTree(area);
}

/** Runs a child process to its end. Gives what went wrong, in words, or undefined. */
export async function superviseChild(
  supervised: Supervised,
  onMessage: (message: unknown) => void,
): Promise<string | undefined> {
  const child: ChildProcess = fork(CHILD, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const progress = (): string => {
    try {
      return readFileSync(supervised.progressFile, 'utf8').split('\n', 1)[0];
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'nothing yet';
      throw error;
    }
  };
  running.add(child);
  const { patience = PATIENCE } = supervised;
  let last = '';
  let messages = 0;
  let since = Date.now();
  let hung: string | undefined;
  const watch = setInterval(() => {
    const now = `${String(messages)} ${progress()}`;
    if (now !== last) {
      last = now;
      since = Date.now();
    } else if (Date.now() - since > patience) {
      hung = `nothing happened for ${String(patience / 1000)} seconds at or after ${progress()}`;
      abortMounts(supervised.folder);
      child.kill('SIGKILL');
    }
  }, 1000);
  child.on('message', (message) => {
    messages++;
    onMessage(message);
  });
  child.send(supervised.job);
  // Messages may come after the end.
  const disconnected = new Promise((resolve) => child.once('disconnect', resolve));
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(String(code ?? signal)));
  });
  const end = await ended;
  clearInterval(watch);
  running.delete(child);
  await disconnected;
  if (hung !== undefined) return hung;
  return end === '0' ? undefined : `the worker ended with ${end} at or after ${progress()}`;
}
