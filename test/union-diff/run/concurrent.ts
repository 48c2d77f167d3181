/** Rounds in which several processes use the same pair of mounts at once. */
import { join } from 'node:path';
import { SHARED, workFolder } from '../lower/lowers.js';
import { subjectNamed } from '../subjects/index.js';
import type { Lowers } from '../subjects/subject.js';
import { FOLDERS_EACH, MEMBERS, type MemberJob, type MemberMessage } from './member.js';
import { Pair } from './pair.js';
import { printReport } from './report.js';
import { compareMountedAgain, type Running } from './round.js';
import { superviseChild } from './supervise.js';
import { readTree } from './tree.js';
import { keyOf, roundMessage, type WorkerMessage } from './messages.js';

export interface ConcurrentJob {
  readonly kind: 'concurrent';
  readonly subject: string;
  readonly lowers: Lowers;
  readonly folder: string;
  readonly name: string;
  readonly seeds: readonly number[];
  readonly length: number;
  readonly reports: number;
}

type Send = (message: WorkerMessage) => unknown;

/** Sequences of one round. */
const AT_ONCE = MEMBERS * FOLDERS_EACH;

async function runMembers(job: ConcurrentJob, pair: Pair, seeds: readonly number[], send: Send): Promise<Running[]> {
  const runs: Running[] = [];
  const complaints: string[] = [];
  const run = async (index: number): Promise<void> => {
    const own = seeds.slice(index * FOLDERS_EACH, (index + 1) * FOLDERS_EACH);
    if (own.length === 0) return;
    const { subject, length } = job;
    const { referenceRoot, subjectRoot } = pair;
    const first = index * FOLDERS_EACH;
    const progressFile = join(job.folder, `progress-${String(index)}`);
    const member: MemberJob = {
      kind: 'member',
      subject,
      referenceRoot,
      subjectRoot,
      first,
      seeds: own,
      length,
      progressFile,
    };
    const end = await superviseChild({ job: member, folder: job.folder, progressFile }, (message) => {
      const { results, complaints: more, tally } = message as MemberMessage;
      complaints.push(...more);
      send({ kind: 'tally', tally });
      for (const [at, result] of results.entries()) {
        const work = workFolder(first + at);
        const isIntact = result.failure === undefined && result.ended === undefined;
        runs.push({ result, work, tree: isIntact ? readTree(`${subjectRoot}/${work}`) : undefined });
      }
    });
    if (end !== undefined) complaints.push(end);
  };
  await Promise.all(Array.from({ length: MEMBERS }, (_, index) => run(index)));
  const tree = readTree(`${pair.subjectRoot}/${SHARED}`);
  for (const [path, entry] of tree) {
    if (entry.type === '?') complaints.push(`${JSON.stringify(path)} in the shared folder ${entry.text}`);
  }
  const signature = (complaints[0] ?? '').replace(/^(\w+)\(.*: /s, '$1 ');
  const failure = { stage: 'concurrent', text: complaints.slice(0, 6).join('\n  '), signature } as const;
  const result = { operations: [], ...(complaints.length === 0 ? {} : { failure }) };
  return [...runs, { result, work: SHARED, tree, alone: true }];
}

export async function coordinate(job: ConcurrentJob, send: Send): Promise<void> {
  let reports = 0;
  for (let at = 0; at < job.seeds.length; at += AT_ONCE) {
    const pair = new Pair(
      subjectNamed(job.subject),
      job.lowers,
      join(job.folder, String(at)),
      `${job.name}-${String(at)}`,
    );
    try {
      pair.mount();
      const runs = await runMembers(job, pair, job.seeds.slice(at, at + AT_ONCE), send);
      compareMountedAgain(pair, runs);
      const results = runs.map(({ result }) => result);
      send(roundMessage(results, results.length - 1));
      for (const { result, work } of runs) {
        if (result.failure === undefined || reports++ >= job.reports) continue;
        const mounts = `${String(MEMBERS)} processes at once (--concurrent) from seed ${String(job.seeds[at])} on, in ${work}`;
        const seed = job.seeds[at + (work === SHARED ? 0 : Number(work.slice(1)))];
        const report = { seed, concurrent: true, length: job.length, subject: job.subject, mounts };
        const text = printReport({ ...report, operations: result.operations, failure: result.failure });
        send({ kind: 'report', key: keyOf(result.failure), text });
      }
    } finally {
      pair.remove();
    }
  }
}
