import { Worker } from 'node:worker_threads';
import { LayerfsError } from '../../core/error.js';
import type { Compression } from './compression.js';

/** Bytes of one piece of input and of output, and how many of each are under way. */
const INPUT_SLOT = 512 * 1024;
const OUTPUT_SLOT = 512 * 1024;
const SLOTS = 4;

/** The memory that both sides share. Slots of either kind are used in turn. */
export interface SharedSlots {
  readonly input: SharedArrayBuffer;
  readonly inputSlot: number;
  readonly output: SharedArrayBuffer;
  readonly outputSlot: number;
  /** One i32: how many slots of output are free. The thread blocks on it. */
  readonly free: SharedArrayBuffer;
}

/** What the thread is told: a new blob begins, or an input slot is filled. */
export type ThreadMessage =
  { readonly begin: Exclude<Compression, 'none'> } | { readonly length: number; readonly last: boolean };

/** What it answers: an output slot is filled, an input slot is used up, all is told (with the sha256 of the output). */
export type ThreadReply =
  | { readonly kind: 'output'; readonly length: number }
  | { readonly kind: 'taken' }
  | { readonly kind: 'end'; readonly digest: Uint8Array; readonly error?: string };

/** Decompresses one blob after the other in a second thread. */
export class InflateThread {
  readonly #worker: Worker;
  readonly #slots: SharedSlots;
  readonly #free: Int32Array;
  readonly #filled: number[] = [];
  #inputFree = SLOTS;
  #inputNext = 0;
  #outputNext = 0;
  #ended = false;
  #failure: Error | undefined;
  #digest: Uint8Array | undefined;
  readonly #waiting: (() => void)[] = [];

  constructor() {
    this.#slots = {
      input: new SharedArrayBuffer(INPUT_SLOT * SLOTS),
      inputSlot: INPUT_SLOT,
      output: new SharedArrayBuffer(OUTPUT_SLOT * SLOTS),
      outputSlot: OUTPUT_SLOT,
      free: new SharedArrayBuffer(4),
    };
    this.#free = new Int32Array(this.#slots.free);
    this.#free[0] = SLOTS;
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: this.#slots, execArgv: [] });
    this.#worker.on('message', (reply: ThreadReply) => {
      if (reply.kind === 'output') this.#filled.push(reply.length);
      else if (reply.kind === 'taken') this.#inputFree++;
      else {
        this.#ended = true;
        this.#digest = reply.digest;
        if (reply.error !== undefined) this.#failure = new Error(reply.error);
      }
      this.#notify();
    });
    this.#worker.on('error', (error) => this.fail(error));
  }

  begin(compression: Exclude<Compression, 'none'>): void {
    this.#ended = false;
    this.#failure = undefined;
    this.#digest = undefined;
    this.#send({ begin: compression });
  }

  /** Hands over input. Resolves when it is copied; gives up silently once the other side ended. */
  async push(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += INPUT_SLOT) {
      if (!(await this.#inputRoom())) return;
      const part = bytes.subarray(at, at + INPUT_SLOT);
      new Uint8Array(this.#slots.input, this.#inputNext * INPUT_SLOT).set(part);
      this.#sendInput(part.length, false);
    }
  }

  /** No more input comes. */
  async finish(): Promise<void> {
    if (await this.#inputRoom()) this.#sendInput(0, true);
  }

  #sendInput(length: number, last: boolean): void {
    this.#inputFree--;
    this.#inputNext = (this.#inputNext + 1) % SLOTS;
    this.#send({ length, last });
  }

  #send(message: ThreadMessage): void {
    this.#worker.postMessage(message);
  }

  async #inputRoom(): Promise<boolean> {
    while (this.#inputFree === 0 && !this.#ended && this.#failure === undefined) await this.#change();
    return !this.#ended && this.#failure === undefined;
  }

  /** The next piece of output, valid until `release`; undefined at the end. @throws Error of the decoder */
  async pull(): Promise<Uint8Array | undefined> {
    while (this.#filled.length === 0) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return undefined;
      await this.#change();
    }
    return new Uint8Array(this.#slots.output, this.#outputNext * OUTPUT_SLOT, this.#filled.shift());
  }

  /** The sha256 of all output, once `pull` told the end. */
  digest(): Uint8Array {
    if (this.#digest === undefined) throw new LayerfsError('internal', 'a blob was not read to its end');
    return this.#digest;
  }

  release(): void {
    this.#outputNext = (this.#outputNext + 1) % SLOTS;
    Atomics.add(this.#free, 0, 1);
    Atomics.notify(this.#free, 0);
  }

  /** Wakes whoever waits, with an error. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#notify();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #notify(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** It calls no C (see `thread.ts` of @layerfs/linux), so it can just be stopped, also while it waits for room. */
  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** The threads of one import: as many as blobs are read at the same time. */
export class InflateThreads {
  readonly #idle: InflateThread[] = [];
  readonly #all = new Set<InflateThread>();

  /** Starts one for which there will be work soon; who waits for a network meanwhile does not wait for it then. */
  warm(): void {
    if (this.#all.size === 0) this.#idle.push(this.take());
  }

  take(): InflateThread {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const thread = new InflateThread();
    this.#all.add(thread);
    return thread;
  }

  /** Gives a thread back: to the next one, or to its end when its blob was not read to the end. */
  async give(thread: InflateThread, finished: boolean): Promise<void> {
    if (finished) this.#idle.push(thread);
    else {
      this.#all.delete(thread);
      await thread.close();
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map((thread) => thread.close()));
  }
}
