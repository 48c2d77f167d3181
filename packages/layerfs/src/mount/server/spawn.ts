import { spawn, type ChildProcess } from 'node:child_process';
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
  return new ServerProcess(
    SERVER,
    labels.map((label) => label.replaceAll('\0', '?')),
  );
}

/** A server process, started, that waits for what it has to serve. */
export class ServerProcess<Plan, Ready> {
  readonly child: ChildProcess;
  readonly #stop = new AbortController();
  readonly #failed: Promise<never>;
  /** What it reports and what it complains of, once it has closed both. */
  readonly #said: Promise<[report: string, complaints: string]> | undefined;
  #ready = false;

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
    this.#failed = new Promise((_, fail) => {
      this.child.on('error', (error) => {
        const message = `Cannot start the server: ${error.message}`;
        fail(new LayerfsError('unavailable', message, { cause: error }));
      });
    });
    // Whoever has it serve is told.
    this.#failed.catch(() => undefined);
    // A server that dies before it reads its plan says why elsewhere.
    this.child.stdin?.on('error', () => undefined);
    const { stderr } = this.child;
    // Without a process there may be no pipes.
    const report = (this.child.stdio as ChildProcess['stdio'] | undefined)?.[3] as Readable | null | undefined;
    if (stderr === null || report == null) return;
    this.#said = Promise.all([text(report), text(stderr)]);
    this.#said.catch(() => undefined);
  }

  /** Ends it, unless its mount is ready. */
  abandon(): void {
    if (!this.#ready) this.#end();
  }

  #end(): void {
    // Without a process there is none to be ended, and its number would be anybody's.
    if (this.child.pid !== undefined) this.#stop.abort();
  }

  /**
   * Tells it what to serve and waits until its mount answers.
   * @param signal ends it; a mount that is there already is unmounted lazily
   * @returns what it says of that
   * @throws LayerfsError with the server's own reason
   */
  async serve(plan: Plan, signal?: AbortSignal): Promise<Ready> {
    const { child } = this;
    if (this.#said === undefined) return this.#failed;
    const end = (): void => this.#end();
    signal?.addEventListener('abort', end, { once: true });
    child.once('exit', () => signal?.removeEventListener('abort', end));
    if (signal?.aborted === true) end();
    child.stdin?.end(JSON.stringify(plan));
    const [reported, complained] = await Promise.race([this.#said, this.#failed]);
    child.unref();
    if (reported === '') {
      throw new LayerfsError('internal', `The server ended before its mount was ready: ${complained.trim()}`);
    }
    const message = JSON.parse(reported) as { ready: Ready } | { failed: { code: string; message: string } };
    if ('ready' in message) {
      this.#ready = true;
      return message.ready;
    }
    // What a library had to say, when that is why.
    const more = complained.trim();
    const why = more === '' ? message.failed.message : `${message.failed.message}: ${more}`;
    throw new LayerfsError(message.failed.code as LayerfsErrorCode, why);
  }
}
