/**
 * Repairs a store, in an order in which each step finds what it needs: the frame, the records when all are lost, content,
 * records, counts, litter. After each it is looked again at what is there; what has come of each problem is what the last
 * look shows. The caller holds the collector's lock and the store's, exclusively.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { checkAborted } from '../../errors.js';
import type { DiffID, Digest, ChainID } from '../../../core/digest.js';
import { objectIn } from '../affected.js';
import { compareStore, type Comparison } from '../compare.js';
import type { Job } from '../jobs.js';
import { Metadata } from '../metadata.js';
import { keyOf, PROBLEM_KINDS, type Finding, type FsckOptions, type Outcome } from '../problem.js';
import type { CheckState } from '../state.js';
import { repairContent } from './content.js';
import { Quarantine } from './quarantine.js';
import { repairRecords, writeAdopted } from './records.js';
import { Sources } from './sources.js';
import { repairStructure } from './structure.js';
import { sweep } from './sweep.js';
import { RepairWork } from './work.js';

/** What a repair did. */
export interface Repaired {
  /** What was found before, and what came to light on the way. */
  readonly findings: readonly Finding[];
  readonly outcomes: ReadonlyMap<string, Outcome>;
  readonly quarantine: string | undefined;
}

/**
 * Repairs what can be repaired.
 * @param findings all that was found
 * @throws LayerfsError invalid-argument, not-found for `from`; aborted
 */
export async function repairStore(
  state: CheckState,
  comparison: Comparison,
  findings: readonly Finding[],
  options: FsckOptions,
): Promise<Repaired> {
  const { paths } = state;
  const quarantine = new Quarantine(paths.root);
  const folder = join(paths.root, 'fsck/work');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o700 });
  const work = new RepairWork(state, quarantine, folder, options);
  const platforms = [...new Set(comparison.images.map(({ record }) => record.platform))];
  let sources: Sources | undefined;
  try {
    sources = await Sources.open(state, options, platforms, folder);
    // Nothing was changed so far: a wrong path is refused before anything is.
    repairStructure(work, findings);
    state.metadata?.settle();
    const now = await restoreRecords(work, comparison);
    const content = await repairContentOf(work, now, findings, sources);
    repairRecords(work, content, content.findings);
    const after = lookAgain(work, content);
    const keep = now.lost ? 'left: the records were lost, and with them what it was for' : undefined;
    sweep(work, after.findings, after.mounts.unknown ? 'left: nobody knows what a living mount needs' : keep);
  } finally {
    await sources?.close();
    rmSync(folder, { recursive: true, force: true });
  }
  const last = compareStore(state);
  const left = [...last.findings, ...(await recheck(state, findings, options))];
  const all = withNew(findings, left);
  quarantine.finish(all);
  const outcomes = new Map(all.map((finding) => [keyOf(finding), outcomeOf(finding, left, work)]));
  return { findings: all, outcomes, quarantine: quarantine.folder };
}

function lookAgain(work: RepairWork, before: Comparison): Comparison {
  checkAborted(work.options.signal);
  return { ...compareStore(work.state), lost: before.lost };
}

/** When all records are lost, they are written anew by what the files show. */
async function restoreRecords(work: RepairWork, comparison: Comparison): Promise<Comparison> {
  if (!comparison.lost) return lookAgain(work, comparison);
  const { state } = work;
  if (!state.alone()) {
    work.failed('meta', 'others have the store open: end them, then repair again');
    return comparison;
  }
  state.metadata?.close();
  if (existsSync(state.paths.meta)) work.quarantine.move('meta');
  mkdirSync(state.paths.meta, { mode: 0o700 });
  state.metadata = Metadata.make(state.paths.records, state.paths.meta);
  writeAdopted(state.metadata, comparison);
  work.done('meta', 'written anew by what the files show; names were made up, as recovered:…');
  return { ...lookAgain(work, comparison), lost: true };
}

async function repairContentOf(
  work: RepairWork,
  now: Comparison,
  findings: readonly Finding[],
  sources: Sources,
): Promise<Comparison> {
  // What reading has shown is not seen by comparing.
  const shown = findings.filter((finding) => isShownByReading(finding) && !work.wasQuarantined(finding.path));
  await repairContent(work, now, distinct([...now.findings, ...shown]), sources);
  // Layers that could not be read to their end before may be by now: their records need what they show.
  await runAgain(
    work.state,
    [...now.needed]
      .filter((diffID) => !work.state.facts.layers.has(diffID))
      .map((diffID) => ({ kind: 'layer', diffID })),
    work.options,
  );
  return lookAgain(work, now);
}

function isShownByReading({ kind }: Finding): boolean {
  return [
    'object-damaged',
    'layer-file-damaged',
    'layer-mismatch',
    'chain-damaged',
    'blob-damaged',
    'unreadable',
  ].includes(kind);
}

function distinct(findings: readonly Finding[]): Finding[] {
  return [...new Map(findings.map((finding) => [keyOf(finding), finding])).values()];
}

/** Reads again what these findings are about. */
function recheck(state: CheckState, findings: readonly Finding[], options: FsckOptions): Promise<Finding[]> {
  const jobs = new Map<string, Job>();
  for (const { path } of findings) {
    const object = path.startsWith('meta:') ? undefined : objectIn(path);
    const [, place, name] = /^(layers|chains|blobs\/sha256)\/([0-9a-f]{64})/.exec(path) ?? [];
    const digest = `sha256:${name}`;
    if (object !== undefined) jobs.set(path, { kind: 'object', hex: object });
    else if (place === 'layers') jobs.set(digest, { kind: 'layer', diffID: digest as DiffID });
    else if (place === 'chains') jobs.set(path, { kind: 'chain', chainID: digest as ChainID });
    else if (place === 'blobs/sha256') jobs.set(path, { kind: 'blob', digest: digest as Digest, layer: false });
  }
  return runAgain(state, [...jobs.values()], options);
}

async function runAgain(state: CheckState, jobs: readonly Job[], { signal }: FsckOptions): Promise<Finding[]> {
  const findings: Finding[] = [];
  if (jobs.length === 0) return findings;
  await state.threads.run(
    jobs,
    {
      onBytes: () => undefined,
      onDone: (job, result) => {
        findings.push(...result.findings);
        if (job.kind === 'layer' && result.layer !== undefined) state.facts.layers.set(job.diffID, result.layer);
      },
    },
    signal,
  );
  return findings;
}

/** All that was found before, and of what is left that which is something else. */
function withNew(findings: readonly Finding[], left: readonly Finding[]): Finding[] {
  const known = new Set(findings.map(({ path }) => path));
  return [...findings, ...distinct(left).filter(({ path }) => !known.has(path))];
}

function outcomeOf({ kind, path }: Finding, left: readonly Finding[], work: RepairWork): Outcome {
  if (PROBLEM_KINDS[kind] === 'notice') return { state: 'left', detail: "not the store's own" };
  const detail = work.detail(path);
  const still = left.some((each) => each.path === path && PROBLEM_KINDS[each.kind] !== 'notice');
  if (work.wasQuarantined(path) && (still || path.startsWith('meta:'))) {
    return { state: 'quarantined', detail: detail ?? 'moved to quarantine' };
  }
  if (still || work.hasFailed(path)) return { state: 'left', detail: detail ?? 'nothing could be done' };
  if (PROBLEM_KINDS[kind] === 'litter') return { state: 'swept', detail: detail ?? 'gone' };
  return { state: 'repaired', detail: detail ?? 'by other repairs' };
}
