/** A thread of a check: does one job after the other. */
import { parentPort } from 'node:worker_threads';
import { ownThread } from '@layerfs/linux/thread';
import { LayerfsError } from '../../core/error.js';
import { isErrno } from '../errors.js';
import { loadXxhash } from '../hash.js';
import { InflateThreads } from '../inflate/thread.js';
import { StorePaths } from '../paths.js';
import { checkBlob } from './check-blob.js';
import { checkChain } from './check-chain.js';
import { checkLayer } from './check-layer.js';
import { checkObject, checkObjects } from './check-objects.js';
import type { Job, JobContext, JobResult } from './jobs.js';

/** What the thread answers. */
export type WorkerReply =
  | { readonly kind: 'bytes'; readonly bytes: number }
  | { readonly kind: 'done'; readonly result: JobResult }
  | { readonly kind: 'failed'; readonly message: string; readonly code: string | undefined };

/** Bytes between two messages about them. */
const REPORT = 8 << 20;

const thread = ownThread<JobContext, Job>();
const context = thread.data;
const paths = new StorePaths(context.root);
const threads = new InflateThreads();
let pending = 0;

function send(reply: WorkerReply): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window
  parentPort?.postMessage(reply);
}

/** For work that is not to be finished. No part of the check takes it for something that it has found. */
class Stopped extends Error {}

function onBytes(bytes: number): void {
  if (thread.ending) throw new Stopped('the check has been interrupted');
  pending += bytes;
  if (pending >= REPORT) tell();
}

function tell(): void {
  send({ kind: 'bytes', bytes: pending });
  pending = 0;
}

async function run(job: Job): Promise<JobResult> {
  const store = { paths, xxhash: await loadXxhash() };
  switch (job.kind) {
    case 'objects':
      return checkObjects(context, job.prefix, onBytes);
    case 'object':
      return { findings: checkObject(context, job.hex, onBytes), items: 1 };
    case 'layer':
      return checkLayer(store, context, job.diffID, onBytes);
    case 'blob':
      return checkBlob(store, context, job.digest, job.layer, threads, onBytes);
    case 'chain':
    default:
      return checkChain(store, context, job.chainID, job.layers, onBytes);
  }
}

/** A layer may be removed while it is read, also one that a chain is compared with; what must be there is told by others. */
async function unlessGone(job: Job, action: () => Promise<JobResult>): Promise<JobResult> {
  try {
    return await action();
  } catch (error) {
    const gone = isErrno(error, 'ENOENT') || (error instanceof LayerfsError && error.code === 'not-found');
    if (gone && (job.kind === 'layer' || job.kind === 'chain')) return { findings: [], items: 0 };
    throw error;
  }
}

async function answer(job: Job): Promise<void> {
  try {
    const result = await unlessGone(job, () => run(job));
    tell();
    send({ kind: 'done', result });
  } catch (error) {
    const { message, code } = error instanceof LayerfsError ? error : (error as NodeJS.ErrnoException);
    send({ kind: 'failed', message, code });
  }
}

thread.takeJobs(answer, () => threads.close());
