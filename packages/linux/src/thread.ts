/**
 * Threads that call C. Node must not stop them: stopped while it is loaded, binds a function or tells of an error, koffi ends the
 * whole process with a fatal error. So they are asked to end, and a process that ends waits until they do nothing.
 */
import { parentPort, Worker, workerData, type WorkerOptions } from 'node:worker_threads';

/** How long a process that ends waits for its threads, which may be reading from a slow disk. */
const EXIT_MILLIS = 5000;

/** In the memory that both sides share: whether the thread is to end, and whether it is at work. */
const ENDING = 0;
const WORKING = 1;

interface Shared {
  readonly data: unknown;
  readonly state: Int32Array;
}

const running = new Set<NativeThread>();

/** The side of who starts a thread, whose program takes what it gets by {@link ownThread}. */
export class NativeThread {
  readonly worker: Worker;
  /** Settles when it has ended, for whatever reason. */
  readonly ended: Promise<void>;
  readonly #state = new Int32Array(new SharedArrayBuffer(8));
  readonly #wake: (() => void) | undefined;

  /**
   * @param data what the thread is given, as `workerData`
   * @param wake for a thread that waits for something else than messages: has it look whether it is to end
   */
  constructor(
    file: URL,
    data: unknown,
    options: Pick<WorkerOptions, 'trackUnmanagedFds' | 'transferList'> = {},
    wake?: () => void,
  ) {
    // It is loading.
    this.#state[WORKING] = 1;
    this.#wake = wake;
    this.worker = new Worker(file, {
      workerData: { data, state: this.#state } satisfies Shared,
      // Node refuses a thread of a file with some that a program may have been started with.
      execArgv: [],
      ...options,
    });
    // Who waits for an answer hears of it, too; nobody else has to. It is at work no more.
    this.worker.on('error', () => Atomics.store(this.#state, WORKING, 0));
    this.ended = new Promise((resolve) => {
      this.worker.once('exit', () => {
        running.delete(this);
        if (running.size === 0) process.off('exit', NativeThread.endAll);
        resolve();
      });
    });
    if (running.size === 0) process.on('exit', NativeThread.endAll);
    running.add(this);
  }

  /** Asks it to end. */
  #ask(): void {
    Atomics.store(this.#state, ENDING, 1);
    this.#wake?.();
  }

  /** Ends it, as soon as it sees that it is to. */
  async end(): Promise<void> {
    this.#ask();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window
    this.worker.postMessage(null);
    await this.ended;
  }

  /** For the end of the process or thread that started them: asks all to end, and waits until they do nothing that must not be stopped. */
  static endAll(this: void): void {
    const deadline = Date.now() + EXIT_MILLIS;
    for (const thread of running) thread.#ask();
    for (const thread of running) Atomics.wait(thread.#state, WORKING, 1, Math.max(0, deadline - Date.now()));
  }
}

/** A thread's own side: what it was given, and what it is sent. It is at work, from before it was loaded, until it says that it is not. */
export class OwnThread<Data, Job = never> {
  readonly data: Data;
  readonly #state: Int32Array;

  constructor({ data, state }: Shared) {
    this.data = data as Data;
    this.#state = state;
    // Also when it fails.
    process.once('exit', () => this.rest());
  }

  /** Whether it is to end: what takes long should ask. */
  get ending(): boolean {
    return Atomics.load(this.#state, ENDING) === 1;
  }

  /** To be called before any work. @returns false when nothing may be begun any more */
  begin(): boolean {
    Atomics.store(this.#state, WORKING, 1);
    if (!this.ending) return true;
    this.rest();
    return false;
  }

  /** To be called after it. */
  rest(): void {
    Atomics.store(this.#state, WORKING, 0);
    Atomics.notify(this.#state, WORKING);
  }

  /**
   * Does what it is sent, one after the other, until it is to end.
   * @param work must not reject
   * @param close ends what else keeps the thread
   */
  takeJobs(work: (job: Job) => Promise<void>, close: () => Promise<void>): void {
    const port = parentPort;
    if (port === null) throw new Error('not in a thread');
    const next = async (job: Job | null): Promise<void> => {
      if (job === null) {
        await close();
        port.close();
      } else if (this.begin()) {
        await work(job);
        this.rest();
      }
    };
    let last = Promise.resolve();
    port.on('message', (job: Job | null) => {
      const before = last;
      last = (async () => {
        await before;
        await next(job);
      })();
    });
    this.rest();
  }
}

/** What a {@link NativeThread} is for the program that it runs. */
export function ownThread<Data, Job = never>(): OwnThread<Data, Job> {
  return new OwnThread<Data, Job>(workerData as Shared);
}
