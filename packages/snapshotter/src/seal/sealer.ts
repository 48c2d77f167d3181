import type { SealedLayer } from 'layerfs';
import type { SealRequest } from './main.js';
import { SealProcess } from './process.js';

/** A folder that is to become a layer. */
export interface Candidate extends SealRequest {
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
  failed(candidate: Candidate, error: unknown): Promise<void>;
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

/** Seals one folder after the other, behind, in a process of its own: large ones hold nothing up. */
export class Sealer {
  readonly #source: SealSource;
  readonly #process: SealProcess;
  /** What could not be sealed. Told once, and tried again when the service starts again. */
  readonly #failed = new Set<string>();
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(source: SealSource) {
    this.#source = source;
    this.#process = new SealProcess(source.store);
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
      if (candidate === undefined || signal.aborted) break;
      try {
        const { folder, below, label } = candidate;
        await this.#source.sealed(candidate, await this.#process.seal({ folder, below, label }));
      } catch (error) {
        if (signal.aborted) break;
        this.#failed.add(candidate.id);
        await this.#source.failed(candidate, error);
      }
    }
    this.call(AGAIN_MS);
  }

  /** Gives up what is under way: it is done when the service runs again. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#abort.abort();
    await this.#process.end();
    await this.#running;
    clearTimeout(this.#timer);
  }
}
