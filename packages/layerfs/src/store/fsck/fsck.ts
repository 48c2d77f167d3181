/** Checks a store: reads everything once, in several threads, then compares files and records with each other. */
import { closeSync, lstatSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import type { DiffID, Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { checkAborted, isErrno, storeError } from '../errors.js';
import { loadXxhash } from '../hash.js';
import { lockFile, tryLockFile } from '../locks.js';
import { FORMAT_VERSION } from '../format/version.js';
import { defaultRoot, StorePaths } from '../paths.js';
import { StoreLock } from '../store-lock.js';
import { Checkpoint } from './checkpoint.js';
import { compareStore, type Comparison } from './compare.js';
import { namesIn } from './compare-places.js';
import type { Job } from './jobs.js';
import { Metadata, probeRecords } from './metadata.js';
import { keyOf, PROBLEM_KINDS, type Checked, type Finding, type FsckOptions, type FsckReport } from './problem.js';
import { repairStore } from './repair/repair.js';
import { makeReport } from './report.js';
import type { CheckState } from './state.js';
import { JobThreads } from './threads.js';

/** How long to wait for importers to end, in milliseconds, when only that tells remains from what is under way. */
const SETTLE_WAIT = 3000;
/** After so many milliseconds whoever waits for a lock has tried again. */
const TURN = 100;

/**
 * Checks everything that a store claims, and repairs it when asked to. A check runs beside imports and mounts; a repair, at
 * its end, needs the store for itself. Interrupted, it goes on where it was the next time. The store is not opened by it:
 * it works also on one that `openStore` refuses.
 * @param root the store's folder; as for `openStore` when left out
 * @throws LayerfsError not-found: there is no store; failed-precondition: another check is running, or the store is of a
 * newer layerfs; permission-denied; aborted
 */
export async function checkStore(root?: string, options: FsckOptions = {}): Promise<FsckReport> {
  const paths = new StorePaths(resolve(root ?? defaultRoot()));
  try {
    return await withLocks(paths, options, (locks) => check(paths, options, locks));
  } catch (error) {
    checkAborted(options.signal);
    throw storeError(error, 'checking the store', paths.root);
  }
}

/** What a check holds, and may come to hold. */
interface CheckLocks {
  readonly store: StoreLock;
  /** See {@link CheckState.alone}. */
  readonly alone: () => boolean;
}

/** One check at a time, of a store that keeps its version meanwhile. Reading needs no lock: what is gone is not told. */
async function withLocks<T>(
  paths: StorePaths,
  options: FsckOptions,
  action: (locks: CheckLocks) => Promise<T>,
): Promise<T> {
  checkAborted(options.signal);
  refuseOthers(paths);
  for (const folder of [join(paths.root, 'fsck'), paths.locks]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const own = tryLockFile(join(paths.root, 'fsck/lock'), 'exclusive');
  if (own === undefined) throw new LayerfsError('failed-precondition', `another check of ${paths.root} is running`);
  const version = holdVersion(paths);
  try {
    return await action({
      store: new StoreLock(paths),
      alone: () => version === undefined || tryFlock(version, LOCK.EX),
    });
  } finally {
    if (version !== undefined) closeSync(version);
    own.release();
  }
}

/** Keeps the store from being brought to another version; a version that is damaged keeps everybody else out anyway. */
function holdVersion(paths: StorePaths): number | undefined {
  if (versionIn(paths.version) !== String(FORMAT_VERSION)) return undefined;
  const fd = openSync(paths.version, 'r');
  if (tryFlock(fd, LOCK.SH)) return fd;
  closeSync(fd);
  throw new LayerfsError('unavailable', `store ${paths.root} is just being brought to another version: try again`);
}

/** A folder that is no store is not made one, and one of a newer layerfs is left alone. */
function refuseOthers(paths: StorePaths): void {
  const names = new Set(namesIn(paths.root));
  if (!['objects', 'layers', 'blobs'].some((name) => names.has(name))) {
    throw new LayerfsError('not-found', `there is no store in ${paths.root}: name one with --root or LAYERFS_ROOT`);
  }
  const version = versionIn(paths.version);
  // What is no number is damage, and told.
  if (!/^\d{1,9}$/.test(version) || version === String(FORMAT_VERSION)) return;
  throw new LayerfsError(
    'failed-precondition',
    `store ${paths.root} has format version ${version}, this layerfs checks ${FORMAT_VERSION}`,
  );
}

function versionIn(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EISDIR', 'EACCES', 'EIO', 'ELOOP')) return '';
    throw error;
  }
}

async function check(paths: StorePaths, options: FsckOptions, locks: CheckLocks): Promise<FsckReport> {
  const { signal, onProgress } = options;
  const xxhash = await loadXxhash();
  const checkpoint = Checkpoint.open(join(paths.root, 'fsck'), options.afresh === true);
  const unreadable = probeRecords(paths.records);
  const { uid } = statSync(paths.root);
  const state: CheckState = {
    paths,
    xxhash,
    uid,
    threads: new JobThreads({ root: paths.root, uid }),
    metadata: unreadable === undefined ? new Metadata(paths.records) : undefined,
    facts: checkpoint.facts,
    alone: locks.alone,
  };
  try {
    const read = await readEverything(state, checkpoint, unreadable, options);
    const parts = { root: paths.root, resumed: checkpoint.resumed ? checkpoint.begun : undefined };
    const conclude = (comparison: Comparison): { findings: Finding[]; checked: Checked } => {
      checkAborted(signal);
      checkpoint.remove();
      return {
        findings: [...comparison.findings, ...stillThere(state, read.findings, comparison)],
        checked: {
          ...read.checked,
          images: comparison.records.images.size,
          snapshots: comparison.records.snapshots.size,
          bytes: read.bytes,
        },
      };
    };
    onProgress?.({ kind: 'comparing' });
    if (options.repair !== true) {
      const { comparison, unsettled } = await settle(state, unreadable, locks.store, options);
      return makeReport({ ...parts, ...conclude(comparison), unsettled }, comparison);
    }
    return await withCollector(paths, options, () =>
      locks.store.exclusive(signal, async () => {
        const comparison = compareStore(state, unreadable);
        const { findings, checked } = conclude(comparison);
        const repaired = await repairStore(state, comparison, findings, options);
        return makeReport({ ...parts, checked, unsettled: [], ...repaired }, comparison);
      }),
    );
  } catch (error) {
    if (signal?.aborted === true) checkpoint.save();
    throw error;
  } finally {
    await state.threads.close();
    state.metadata?.close();
  }
}

/**
 * Compares, and tells remains from what is under way: with the store for itself for a moment, while nobody removes anything, and
 * once more after whoever waited to remove something had his turn.
 */
async function settle(
  state: CheckState,
  unreadable: string | undefined,
  lock: StoreLock,
  { signal, onProgress }: FsckOptions,
): Promise<{ comparison: Comparison; unsettled: string[] }> {
  const first = await lock.shared(signal, () => compareStore(state, unreadable));
  if (litterOf(first).length === 0) return { comparison: first, unsettled: [] };
  onProgress?.({ kind: 'waiting', what: 'the store is in use' });
  const limit = AbortSignal.timeout(SETTLE_WAIT);
  try {
    const both = signal === undefined ? limit : AbortSignal.any([signal, limit]);
    const look = (): Promise<Comparison> =>
      withCollector(state.paths, { signal: both }, () => lock.exclusive(both, () => compareStore(state, unreadable)));
    const seen = new Set(litterOf(await look()));
    if (seen.size > 0) await sleep(TURN, undefined, { signal: both });
    const last = await look();
    return withoutLitter(last, (path) => !seen.has(path));
  } catch (error) {
    checkAborted(signal);
    if (!limit.aborted) throw error;
    return withoutLitter(first, () => true);
  }
}

function litterOf({ findings }: Comparison): string[] {
  return findings.filter((finding) => isLitter(finding)).map(({ path }) => path);
}

/** Without such litter as may be of somebody's work. */
function withoutLitter(
  comparison: Comparison,
  isWork: (path: string) => boolean,
): { comparison: Comparison; unsettled: string[] } {
  const findings = comparison.findings.filter((finding) => !isLitter(finding) || !isWork(finding.path));
  return { comparison: { ...comparison, findings }, unsettled: litterOf(comparison).filter((path) => isWork(path)) };
}

/** Nobody deletes anything meanwhile. */
async function withCollector<T>(
  paths: StorePaths,
  { signal, onProgress }: FsckOptions,
  action: () => Promise<T>,
): Promise<T> {
  let collector = tryLockFile(paths.collector, 'exclusive');
  if (collector === undefined) onProgress?.({ kind: 'waiting', what: 'something is being removed from the store' });
  collector ??= await lockFile(paths.collector, 'exclusive', signal);
  try {
    return await action();
  } finally {
    collector.release();
  }
}

const isLitter = ({ kind }: Finding): boolean => PROBLEM_KINDS[kind] === 'litter';

/** What reading came to. */
interface Read {
  readonly findings: readonly Finding[];
  readonly checked: Record<'objects' | 'layers' | 'blobs' | 'chains', number>;
  readonly bytes: number;
}

async function readEverything(
  state: CheckState,
  checkpoint: Checkpoint,
  unreadable: string | undefined,
  { signal, onProgress }: FsckOptions,
): Promise<Read> {
  const comparison = compareStore(state, unreadable);
  const all = jobsOf(state, comparison);
  const jobs = all.filter((job) => !checkpoint.has(job));
  const findings: Finding[] = [];
  const checked = { objects: 0, layers: 0, blobs: 0, chains: 0 };
  const totalBytes = expectedBytes(state, comparison);
  let bytes = 0;
  let done = all.length - jobs.length;
  const tell = (): void => onProgress?.({ kind: 'reading', done, total: all.length, bytes, totalBytes });
  tell();
  const places = { objects: 'objects', object: 'objects', layer: 'layers', blob: 'blobs', chain: 'chains' } as const;
  await state.threads.run(
    jobs,
    {
      onBytes: (count) => {
        bytes += count;
        tell();
      },
      onDone: (job, result) => {
        done++;
        checked[places[job.kind]] += result.items;
        findings.push(...result.findings);
        checkpoint.add(job, result);
        tell();
      },
    },
    signal,
  );
  return { findings, checked, bytes };
}

/** Everything whose content is to be read, the largest pieces first. */
function jobsOf({ paths }: CheckState, { records, images, needed, mounts }: Comparison): Job[] {
  const jobs: Job[] = [];
  const isHex = (name: string): boolean => /^[0-9a-f]{64}$/.test(name);
  const layers = new Set<DiffID>([...records.layers.keys(), ...needed]);
  for (const name of namesIn(paths.layers)) if (isHex(name)) layers.add(`sha256:${name}` as DiffID);
  for (const diffID of layers) jobs.push({ kind: 'layer', diffID });
  const documents = new Set<Digest>(images.flatMap(({ record }) => [record.digest, record.config]));
  const layerBlobs = new Set<Digest>([
    ...records.blobs.keys(),
    ...images.flatMap(({ record }) => record.layers.map(({ digest }) => digest)),
  ]);
  for (const name of namesIn(paths.blobs)) {
    const digest = `sha256:${name}` as Digest;
    // Documents are read when they are compared.
    if (isHex(name) && !documents.has(digest)) jobs.push({ kind: 'blob', digest, layer: layerBlobs.has(digest) });
  }
  for (const name of namesIn(paths.objects)) {
    if (/^[0-9a-f]{2}$/.test(name)) jobs.push({ kind: 'objects', prefix: name });
  }
  const chains = new Map(images.map(({ record }) => [record.chainID, record.layers.map(({ diffID }) => diffID)]));
  for (const { chainID, layers: stack } of mounts.living) if (!chains.has(chainID)) chains.set(chainID, [...stack]);
  for (const [chainID, stack] of chains) {
    if (namesIn(paths.chains).includes(chainID.slice(7))) jobs.push({ kind: 'chain', chainID, layers: stack });
  }
  return jobs;
}

function expectedBytes({ paths }: CheckState, { records, lists }: Comparison): number {
  let bytes = 0;
  for (let at = 0; at < lists.table.count; at++) bytes += lists.table.sizeAt(at);
  for (const { size } of records.layers.values()) bytes += size;
  for (const [digest] of records.blobs) bytes += statSync(paths.blob(digest), { throwIfNoEntry: false })?.size ?? 0;
  return bytes;
}

/** What reading has shown, without what was removed since, by somebody who may. */
function stillThere({ paths }: CheckState, findings: readonly Finding[], comparison: Comparison): Finding[] {
  const known = new Set(comparison.findings.map((finding) => keyOf(finding)));
  return findings.filter((finding) => {
    if (known.has(keyOf(finding))) return false;
    try {
      return lstatSync(join(paths.root, finding.path), { throwIfNoEntry: false }) !== undefined;
    } catch (error) {
      if (isErrno(error, 'ELOOP', 'ENOTDIR', 'EACCES', 'EIO')) return true;
      throw error;
    }
  });
}
