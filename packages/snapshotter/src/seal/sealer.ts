import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { LayerfsError, type LayerfsErrorCode, type SealedLayer } from 'layerfs';
import type { SealRequest } from './main.js';

/** A folder that is to become a layer. */
export interface Candidate extends Omit<SealRequest, 'store'> {
  /** ID and name of its snapshot. */
  readonly id: string;
  readonly name: string;
}

/** What the sealer works on. */
export interface SealSource {
  /** The store's folder. */
  readonly store: string;
  /** One that can be sealed now, not one of those; undefined when there is none. */
  next(except: ReadonlySet<string>): Promise<Candidate | undefined>;
  /** Records what was sealed. */
  sealed(candidate: Candidate, layer: SealedLayer): Promise<void>;
  /** Told of what could not be sealed. */
  failed(candidate: Candidate, error: unknown): void;
}

/**
 * When what containerd unpacked becomes layers of the store: some time after it was committed, at once so that a commit waits for
 * it (for tests), or never.
 */
export type SealWhen = 'behind' | 'commit' | 'never';

/** How long after it was called the sealer begins: what is unpacked at a time is sealed when all of it is there. */
const DELAY_MS = 2000;
/** When it looks again, as what is mounted is left alone. */
const AGAIN_MS = 30_000;

/** Seals one folder after the other, behind, each in a process of its own: large ones hold nothing up. */
export class Sealer {
  readonly #source: SealSource;
  /** What could not be sealed. Told once, and tried again when the service starts again. */
  readonly #failed = new Set<string>();
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(source: SealSource) {
    this.#source = source;
  }

  /** There may be something to seal. */
  call(delay = DELAY_MS): void {
    if (this.#abort.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.run(), delay);
    this.#timer.unref();
  }

  /** Seals what can be sealed now. */
  async run(): Promise<void> {
    // What came meanwhile is the next run's.
    await this.#running;
    this.#running ??= this.#run().finally(() => (this.#running = undefined));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      const candidate = await this.#source.next(this.#failed);
      if (candidate === undefined) break;
      try {
        await this.#source.sealed(candidate, await this.#seal(candidate));
      } catch (error) {
        if (signal.aborted) break;
        this.#failed.add(candidate.id);
        this.#source.failed(candidate, error);
      }
    }
    this.call(AGAIN_MS);
  }

  async #seal({ folder, below, label }: Candidate): Promise<SealedLayer> {
    const { signal } = this.#abort;
    const request: SealRequest = { store: this.#source.store, folder, below, label };
    const { NODE_OPTIONS: _, NODE_V8_COVERAGE: __, ...env } = process.env;
    const child = spawn(
      process.execPath,
      ['--no-warnings', fileURLToPath(new URL('main.js', import.meta.url)), JSON.stringify(request)],
      { cwd: '/', env, stdio: ['pipe', 'pipe', 'ignore'] },
    );
    const ended = new Promise<void>((done) => void child.once('close', () => done()).once('error', () => done()));
    const stop = (): void => void child.stdin.end();
    child.stdin.on('error', () => undefined);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      const [said] = await Promise.all([text(child.stdout), ended]);
      if (said === '') throw new LayerfsError('internal', `Sealing ${folder} ended early`);
      const message = JSON.parse(said) as
        { sealed: SealedLayer } | { failed: { code: LayerfsErrorCode; message: string } };
      if ('sealed' in message) return message.sealed;
      throw new LayerfsError(message.failed.code, message.failed.message);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Gives up what is under way: it is done when the service runs again. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#abort.abort();
    await this.#running;
    clearTimeout(this.#timer);
  }
}
