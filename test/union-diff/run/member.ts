/**
 * One of several processes that use a mount at once. Its own work folders are compared as ever; between two operations there it
 * does something in a folder that all share, where nobody can say what the outcome must be, only what it must not be.
 */
import { TOP } from '../lower/entries.js';
import { SHARED, WORK_FOLDERS } from '../lower/lowers.js';
import { Generator } from '../operations/generate.js';
import { execute } from '../operations/execute.js';
import { learn } from '../operations/learn.js';
import { printOperation } from '../operations/operation.js';
import { Side } from '../operations/side.js';
import { Random } from '../operations/random.js';
import { World } from '../operations/world.js';
import { subjectNamed } from '../subjects/index.js';
import { initialWorld, runTasks } from './round.js';
import type { Progress, SequenceResult } from './sequence.js';
import type { Tally } from './tally.js';
import { progressInto } from './worker.js';

export const MEMBERS = 8;
export const FOLDERS_EACH = Math.floor(WORK_FOLDERS / MEMBERS);

export interface MemberJob {
  readonly kind: 'member';
  readonly subject: string;
  readonly referenceRoot: string;
  readonly subjectRoot: string;
  /** The first of its work folders. */
  readonly first: number;
  readonly seeds: readonly number[];
  readonly length: number;
  readonly progressFile: string;
}

export interface MemberMessage {
  readonly results: readonly SequenceResult[];
  /** What must not have happened in the shared folder. */
  readonly complaints: readonly string[];
  readonly tally: Tally;
}

/** What operations may fail with, also when others are at work in the same place. */
const EXPECTED = new Set(
  (
    'EPERM ENOENT EPIPE ENXIO EBADF EAGAIN EACCES EBUSY EEXIST EXDEV ENOTDIR EISDIR EINVAL ETXTBSY EFBIG ESPIPE ERANGE ' +
    'ENAMETOOLONG ENOTEMPTY ELOOP ENODATA EOPNOTSUPP ENOTSUP'
  ).split(' '),
);

export function runMember(job: MemberJob, send: (message: MemberMessage) => unknown): void {
  const shared = `${job.subjectRoot}/${SHARED}/${TOP}`;
  const random = new Random(job.seeds[0] + 2 ** 33);
  const world = new World(initialWorld(`${job.referenceRoot}/${SHARED}/${TOP}`), random);
  const generator = new Generator(random, world);
  const side = new Side(shared);
  const complaints: string[] = [];
  const tally: Tally = {};
  const progress = progressInto(job.progressFile);

  const actInShared = (own: Progress, index: number): void => {
    const operation = generator.next();
    own('subject', index, operation);
    const outcome = execute(side, operation);
    const [word] = outcome.split(' ', 1);
    if (word === 'ok') learn(world, operation);
    else if (/^E[A-Z0-9]+$/.test(word) && !EXPECTED.has(word)) {
      complaints.push(`${printOperation(operation)} in the shared folder: ${outcome}`);
    }
  };
  const roots = { ...job, subject: subjectNamed(job.subject) };
  const tasks = job.seeds.map((seed) => ({ seed, length: job.length }));
  const runs = runTasks(
    roots,
    tasks,
    (task) => {
      const own = progress(task);
      return (which, index, operation) => {
        if (which === 'reference') actInShared(own, index);
        own(which, index, operation);
      };
    },
    tally,
    job.first,
  );
  side.closeAll();
  send({ results: runs.map((run) => run.result), complaints, tally });
}
