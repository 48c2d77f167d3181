/** What a child process runs: its job comes as the first message. */
import { coordinate, type ConcurrentJob } from './concurrent.js';
import { runMember, type MemberJob } from './member.js';
import { Worker, type WorkerJob } from './worker.js';

export type Job = WorkerJob | ConcurrentJob | MemberJob;

async function run(job: Job): Promise<void> {
  const send = (message: unknown): unknown => process.send?.(message);
  switch (job.kind) {
    case 'worker':
      new Worker(job, send).run();
      return;
    case 'concurrent':
      await coordinate(job, send);
      return;
    case 'member':
      runMember(job, send);
  }
}

process.umask(0o022);
process.setgroups?.([]);
process.once('message', (job: Job) => {
  // Not in the midst of the message; a failure is an unhandled rejection, which ends the process with its stack.
  setImmediate(() => void run(job).then(() => process.disconnect()));
});
