/** A thread that writes one EROFS image. */
import { parentPort } from 'node:worker_threads';
import { ownThread } from '@layerfs/linux/thread';
import { LayerfsError } from '../core/error.js';
import { writeErofs, type ErofsJob, type ErofsReply } from './erofs.js';
import { loadXxhash } from './hash.js';
import { StorePaths } from './paths.js';

function send(reply: ErofsReply): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window
  parentPort?.postMessage(reply);
}

const thread = ownThread<ErofsJob>();
try {
  const { data: job } = thread;
  writeErofs({ paths: new StorePaths(job.root), xxhash: await loadXxhash() }, job);
  send(undefined);
} catch (error) {
  const { message, code } = error instanceof LayerfsError ? error : (error as NodeJS.ErrnoException);
  send({ message, code });
}
thread.rest();
