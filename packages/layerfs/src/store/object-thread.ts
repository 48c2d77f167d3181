import { Worker } from 'node:worker_threads';

/** Bytes of one batch of objects on its way to the thread; no object is larger. */
const BATCH = 4 << 20;
/** How many batches there are: one being filled, the others being written. */
const BATCHES = 3;
/** In a batch: 64 chars of the name, u32 length, the content. */
export const RECORD_HEADER = 68;

/** What the thread is told, and what it answers. */
export interface BatchMessage {
  readonly batch: SharedArrayBuffer;
  readonly length: number;
}
export interface BatchReply {
  readonly batch: SharedArrayBuffer;
  readonly objects: number;
  readonly bytes: number;
  /** What went wrong; a cloned Error would lose its code. */
  readonly error?: { readonly message: string; readonly code: string | undefined };
}

/** Writes small objects in a second thread, in batches of shared memory that go back and forth. */
export class ObjectThread {
  readonly #worker: Worker;
  readonly #free: SharedArrayBuffer[] = [];
  #current: Buffer;
  #length = 0;
  #sent = 0;
  #written = 0;
  #failure: Error | undefined;
  /** Two layers may wait at the same time. */
  #waiting: (() => void)[] = [];
  newObjects = 0;
  newBytes = 0;

  constructor(folder: string, objects: string) {
    for (let i = 0; i < BATCHES; i++) this.#free.push(new SharedArrayBuffer(BATCH));
    this.#current = this.#next();
    this.#worker = new Worker(new URL('./object-worker.js', import.meta.url), {
      workerData: { folder, objects },
      // Node refuses a thread of a file with some that a program may have been started with.
      execArgv: [],
    });
    this.#worker.on('message', (reply: BatchReply) => {
      this.#free.push(reply.batch);
      this.#written++;
      this.newObjects += reply.objects;
      this.newBytes += reply.bytes;
      if (reply.error !== undefined) {
        this.#failure ??= Object.assign(new Error(reply.error.message), { code: reply.error.code });
      }
      this.#notify();
    });
    this.#worker.on('error', (error) => {
      this.#failure ??= error;
      this.#notify();
    });
  }

  #notify(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #next(): Buffer {
    const batch = this.#free.pop();
    // More batches than usual only when a single chunk of input fills several before `drain`.
    return Buffer.from(batch ?? new SharedArrayBuffer(BATCH));
  }

  add(hex: string, bytes: Uint8Array): void {
    if (this.#length + RECORD_HEADER + bytes.length > this.#current.length) this.#send();
    this.#current.write(hex, this.#length, 'latin1');
    this.#current.writeUInt32LE(bytes.length, this.#length + 64);
    this.#current.set(bytes, this.#length + RECORD_HEADER);
    this.#length += RECORD_HEADER + bytes.length;
  }

  #send(): void {
    if (this.#length === 0) return;
    const message: BatchMessage = { batch: this.#current.buffer as unknown as SharedArrayBuffer, length: this.#length };
    this.#worker.postMessage(message);
    this.#sent++;
    this.#current = this.#next();
    this.#length = 0;
  }

  /** Waits while too much is under way. */
  drain(): Promise<void> {
    return this.#until(() => this.#sent - this.#written < BATCHES - 1);
  }

  /** Waits until all that was added so far is written; batches are written in their order. */
  flush(): Promise<void> {
    this.#send();
    const last = this.#sent;
    return this.#until(() => this.#written >= last);
  }

  async #until(reached: () => boolean): Promise<void> {
    while (!reached() && this.#failure === undefined) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** It calls no C (see `thread.ts` of @layerfs/linux), so it can just be stopped. */
  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
