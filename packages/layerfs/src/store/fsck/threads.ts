import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { NativeThread } from '@layerfs/linux/thread';
import { LayerfsError } from '../../core/error.js';
import { checkAborted } from '../errors.js';
import type { Job, JobContext, JobResult } from './jobs.js';
import type { WorkerReply } from './worker.js';

/** More threads wait for the disk only. */
const MOST_THREADS = 8;

/** What to tell of jobs. */
interface JobHooks {
  readonly onBytes: (bytes: number) => void;
  /** Called for each job, in the order in which they end; may throw. */
  readonly onDone: (job: Job, result: JobResult) => void;
}

/** As many threads as there are processors, started when they are needed, until they are closed. */
export class JobThreads {
  readonly #context: JobContext;
  readonly #free: NativeThread[] = [];

  constructor(context: JobContext) {
    this.#context = context;
  }

  /** Does jobs. @throws LayerfsError aborted; then jobs under way were not finished */
  async run(jobs: readonly Job[], hooks: JobHooks, signal: AbortSignal | undefined): Promise<void> {
    const queue = [...jobs].toReversed();
    const stop = new AbortController();
    const abort = (): void => stop.abort();
    const lane = async (): Promise<void> => {
      const thread = this.#free.pop() ?? this.#start();
      let idle = false;
      try {
        for (let job = queue.pop(); job !== undefined && !stop.signal.aborted; job = queue.pop()) {
          hooks.onDone(job, await ask(thread.worker, job, hooks.onBytes, stop.signal));
        }
        idle = true;
      } finally {
        // One that was in the middle of something is of no use any more.
        if (idle) this.#free.push(thread);
        else await thread.end();
      }
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      checkAborted(signal);
      const count = Math.min(MOST_THREADS, Math.max(1, availableParallelism()), queue.length);
      const lanes = Array.from({ length: count }, () => lane());
      // One that fails ends the others.
      for (const each of lanes) each.catch(abort);
      const ended = await Promise.allSettled(lanes);
      checkAborted(signal);
      const failed = ended.filter((each) => each.status === 'rejected').map((each): unknown => each.reason);
      // Not the one that was ended by another's failure.
      if (failed.length > 0) throw failed.find((each) => !(each instanceof LayerfsError)) ?? failed[0];
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  #start(): NativeThread {
    const thread = new NativeThread(new URL('worker.js', import.meta.url), this.#context);
    const forget = async (): Promise<void> => {
      await thread.ended;
      const at = this.#free.indexOf(thread);
      if (at !== -1) this.#free.splice(at, 1);
    };
    void forget();
    return thread;
  }

  async close(): Promise<void> {
    await Promise.all(this.#free.splice(0).map((thread) => thread.end()));
  }
}

function ask(worker: Worker, job: Job, onBytes: (bytes: number) => void, signal: AbortSignal): Promise<JobResult> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      worker.removeAllListeners('message');
      worker.off('error', fail);
      worker.off('exit', gone);
      signal.removeEventListener('abort', abort);
    };
    const abort = (): void => {
      end();
      reject(new LayerfsError('aborted', 'interrupted'));
    };
    const fail = (error: Error): void => {
      end();
      reject(error);
    };
    const gone = (): void => fail(new LayerfsError('internal', 'a thread of the check ended early'));
    signal.addEventListener('abort', abort, { once: true });
    worker.on('error', fail);
    worker.on('exit', gone);
    worker.on('message', (reply: WorkerReply) => {
      if (reply.kind === 'bytes') return onBytes(reply.bytes);
      if (reply.kind === 'failed') return fail(Object.assign(new Error(reply.message), { code: reply.code }));
      end();
      resolve(reply.result);
    });
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window
    worker.postMessage(job);
  });
}
