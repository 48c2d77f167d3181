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
const SERVER = new URL('main.js', import.meta.url);

/** A server of one image that was started, for {@link startServer}. */
export type StartedServer = ServerProcess<ServePlan, MountInfo>;

/**
 * Starts a background server of one image before it is known what it has to show: Node takes a while to start, and whoever does this
 * first can open the store meanwhile.
 * @param labels only for those who look at `ps`
 */
export function startServer(...labels: readonly string[]): StartedServer {
  return new ServerProcess(SERVER, labels);
}

/** A server process, started, that waits for what it has to serve. */
export class ServerProcess<Plan, Ready> {
  readonly child: ChildProcess;
  readonly #stop = new AbortController();
  readonly #failed: Promise<never>;

  /** @param program its file */
  constructor(program: URL, labels: readonly string[]) {
    const { NODE_OPTIONS: _, NODE_V8_COVERAGE: __, ...environment } = process.env;
    this.child = spawn(process.execPath, [...NODE_FLAGS, fileURLToPath(program), ...labels], {
      cwd: '/',
      detached: true,
      env: { ...environment, UV_THREADPOOL_SIZE: '2' },
      stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
      signal: this.#stop.signal,
    });
    this.#failed = once(this.child, 'error').then(([error]: unknown[]) => {
      throw new LayerfsError('unavailable', `Cannot start the server: ${(error as Error).message}`, { cause: error });
    });
    // Whoever has it serve is told.
    this.#failed.catch(() => undefined);
    // A server that dies before it reads its plan says why elsewhere.
    this.child.stdin?.on('error', () => undefined);
  }

  /** Ends it; a mount that is there already is unmounted lazily. */
  abandon(): void {
    this.#stop.abort();
  }

  /**
   * Tells it what to serve and waits until its mount answers.
   * @returns what it says of that
   * @throws LayerfsError with the server's own reason
   */
  async serve(plan: Plan, signal?: AbortSignal): Promise<Ready> {
    const { child } = this;
    const [input, complaints, report] = [child.stdin, child.stderr, child.stdio[3] as Readable | null];
    // Without a process there are no pipes.
    if (input === null || complaints === null || report === null) return this.#failed;
    const abort = (): void => this.abandon();
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted === true) abort();
    input.end(JSON.stringify(plan));
    const answer = Promise.all([text(report), text(complaints)]);
    const [reported, complained] = await Promise.race([answer, this.#failed]);
    child.unref();
    if (reported === '') {
      throw new LayerfsError('internal', `The server ended before its mount was ready: ${complained.trim()}`);
    }
    const message = JSON.parse(reported) as { ready: Ready } | { failed: { code: string; message: string } };
    if ('ready' in message) return message.ready;
    // What a library had to say, when that is why.
    const more = complained.trim();
    const why = more === '' ? message.failed.message : `${message.failed.message}: ${more}`;
    throw new LayerfsError(message.failed.code as LayerfsErrorCode, why);
  }
}
