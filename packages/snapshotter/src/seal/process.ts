import { spawn, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { LayerfsError, type LayerfsErrorCode, type SealedLayer } from 'layerfs';
import type { SealRequest } from './main.js';

/** How long it waits for more. */
const IDLE_MS = 5000;

type Answer = { sealed: SealedLayer } | { failed: { code: LayerfsErrorCode; message: string } };

/** The process that seals, one folder after the other. It is started when it is needed, and ends some seconds later. */
export class SealProcess {
  readonly #store: string;
  #running: Running | undefined;
  #idle: NodeJS.Timeout | undefined;
  #ending: Promise<unknown> = Promise.resolve();

  /** @param store the store's folder */
  constructor(store: string) {
    this.#store = store;
  }

  /** One at a time. @throws LayerfsError of what went wrong; internal when the process ended, or was told to end */
  async seal(request: SealRequest): Promise<SealedLayer> {
    clearTimeout(this.#idle);
    this.#running ??= this.#start();
    const answer = await this.#running.ask(request);
    this.#idle = setTimeout(() => void this.end(), IDLE_MS).unref();
    if (answer === undefined) throw new LayerfsError('internal', `Sealing ${request.folder} ended early`);
    if ('sealed' in answer) return answer.sealed;
    throw new LayerfsError(answer.failed.code, answer.failed.message);
  }

  #start(): Running {
    const running = new Running(this.#store, () => {
      if (this.#running === running) this.#running = undefined;
    });
    return running;
  }

  /** Lets it give up what is under way, and waits for its end. */
  async end(): Promise<void> {
    clearTimeout(this.#idle);
    const running = this.#running;
    // What comes meanwhile is another one's.
    this.#running = undefined;
    if (running !== undefined) this.#ending = Promise.all([this.#ending, running.end()]);
    await this.#ending;
  }
}

class Running {
  readonly #child: ChildProcess;
  readonly #input: Socket;
  readonly #output: Socket;
  readonly #ended: Promise<void>;
  #answered: ((answer: Answer | undefined) => void) | undefined;

  constructor(store: string, ended: () => void) {
    const { NODE_OPTIONS: _, NODE_V8_COVERAGE: __, ...env } = process.env;
    const main = fileURLToPath(new URL('main.js', import.meta.url));
    const child = spawn(process.execPath, ['--no-warnings', main, store], {
      cwd: '/',
      env,
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    this.#child = child;
    this.#input = child.stdin as Socket;
    this.#output = child.stdout as Socket;
    // It may have ended.
    this.#input.on('error', () => undefined);
    createInterface({ input: child.stdout }).on('line', (line) => this.#answer(JSON.parse(line) as Answer));
    this.#ended = new Promise((done) => {
      const gone = (): void => {
        ended();
        this.#answer(undefined);
        done();
      };
      child.once('close', gone).once('error', gone);
    });
  }

  async ask(request: SealRequest): Promise<Answer | undefined> {
    this.#keepAwake(true);
    try {
      return await new Promise((answered) => {
        this.#answered = answered;
        this.#input.write(`${JSON.stringify(request)}\n`);
      });
    } finally {
      this.#keepAwake(false);
    }
  }

  /** Whether our own process goes on for it. */
  #keepAwake(needed: boolean): void {
    for (const each of [this.#child, this.#input, this.#output]) {
      if (needed) each.ref();
      else each.unref();
    }
  }

  #answer(answer: Answer | undefined): void {
    this.#answered?.(answer);
    this.#answered = undefined;
  }

  async end(): Promise<void> {
    this.#keepAwake(true);
    this.#input.end();
    await this.#ended;
  }
}
