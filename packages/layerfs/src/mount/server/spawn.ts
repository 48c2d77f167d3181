import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { LayerfsError, type LayerfsErrorCode } from '../../core/error.js';
import type { MountInfo } from '../registry/registry.js';
import type { ServePlan } from './plan.js';

// Measured on walks and reads of some thousand files: a small young generation that is collected without helpers saves
// memory and costs no speed here; without optimising compiler a walk would be a fifth slower. The one helper thread
// compiles: otherwise the serving thread does, for a quarter of what its first two thousand requests take.
const NODE_FLAGS = [
  '--max-semi-space-size=1',
  '--single-threaded-gc',
  '--v8-pool-size=1',
  '--optimize-for-size',
  '--no-warnings',
];

/** The program of a server of one image. */
export const SERVER = new URL('main.js', import.meta.url);

/**
 * Starts a background server for a plan and waits until its mount answers.
 * @returns its registry entry
 * @throws LayerfsError with the server's own reason
 */
export async function spawnPlan(plan: ServePlan, signal?: AbortSignal): Promise<MountInfo> {
  const { ref, mountpoint } = plan.info;
  const { ready } = await spawnServerProcess(SERVER, [ref, mountpoint], plan, signal);
  return ready as MountInfo;
}

/**
 * Starts a server process and waits for its report.
 * @param program its file
 * @param labels only for those who look at `ps`
 * @throws LayerfsError with the server's own reason
 */
export async function spawnServerProcess(
  program: URL,
  labels: readonly string[],
  plan: unknown,
  signal?: AbortSignal,
): Promise<{ readonly ready: unknown; readonly child: ChildProcess }> {
  const { NODE_OPTIONS: _, NODE_V8_COVERAGE: __, ...environment } = process.env;
  const child = spawn(process.execPath, [...NODE_FLAGS, fileURLToPath(program), ...labels], {
    cwd: '/',
    detached: true,
    env: { ...environment, UV_THREADPOOL_SIZE: '2' },
    stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
    ...(signal === undefined ? {} : { signal }),
  });
  const [input, complaints, report] = [child.stdin, child.stderr, child.stdio[3] as Readable];
  if (input === null || complaints === null) throw new LayerfsError('internal', 'The server has no pipes');
  // A server that dies before it reads its plan says why elsewhere.
  input.on('error', () => undefined);
  input.end(JSON.stringify(plan));
  const failed = once(child, 'error').then(([error]: unknown[]) => {
    throw new LayerfsError('unavailable', `Cannot start the server: ${(error as Error).message}`, { cause: error });
  });
  const [reported, complained] = await Promise.race([Promise.all([text(report), text(complaints)]), failed]);
  child.unref();
  if (reported === '') {
    throw new LayerfsError('internal', `The server ended before its mount was ready: ${complained.trim()}`);
  }
  const message = JSON.parse(reported) as { ready: unknown } | { failed: { code: string; message: string } };
  if ('ready' in message) return { ready: message.ready, child };
  // What a library had to say, when that is why.
  const more = complained.trim();
  const why = more === '' ? message.failed.message : `${message.failed.message}: ${more}`;
  throw new LayerfsError(message.failed.code as LayerfsErrorCode, why);
}
