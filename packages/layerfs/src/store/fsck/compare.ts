/** The cheap part of a check, done in one go: files and records against each other. It reads no content but documents. */
import type { DiffID } from '../../core/digest.js';
import { lostRecords } from './adopt.js';
import { LayerfsError } from '../../core/error.js';
import type { ImageRecord } from '../meta.js';
import type { StorePaths } from '../paths.js';
import { readSessions } from '../session.js';
import { compareBlobs, compareChains, compareImages, danglingImages } from './compare-images.js';
import { compareCounts, compareLayers, compareObjects, listObjects, type Lists } from './compare-layers.js';
import { compareIngest, comparePlaces, compareSnapshots, namesIn } from './compare-places.js';
import { neededImages, type NeededImage, type Records } from './metadata.js';
import { readMountEntries, type MountEntries } from './mounts.js';
import type { Finding } from './problem.js';
import type { CheckState } from './state.js';

/** What is there, and what is wrong with it. */
export interface Comparison {
  readonly findings: Finding[];
  readonly records: Records;
  /** The records are lost: `records` is what the files say that there should be. */
  readonly lost: boolean;
  readonly images: readonly NeededImage[];
  /** Layers of images, snapshots and living mounts. */
  readonly needed: ReadonlySet<DiffID>;
  readonly mounts: MountEntries;
  readonly lists: Lists;
}

/** Compares everything. Files are listed before records are read: importers put them there in that order. */
export function compareStore(state: CheckState, unreadable?: string): Comparison {
  const { paths } = state;
  const findings: Finding[] = comparePlaces(state);
  const objects = listObjects(state, findings);
  const [layers, chains, blobs, snapshots] = [paths.layers, paths.chains, paths.blobs, paths.snapshots].map((path) =>
    namesIn(path),
  );
  findings.push(...compareIngest(state));
  const mounts = namesIn(paths.root).includes('mounts')
    ? readMountEntries(paths)
    : { living: [], unknown: false, findings: [] };
  findings.push(...mounts.findings);
  const files = { objects, layers, chains, blobs, snapshots, mounts };
  const compare = (): Comparison => compareRecords(state, files, findings, unreadable);
  return state.metadata === undefined ? compare() : state.metadata.reading(compare);
}

/** What was listed. */
interface Files {
  readonly objects: ReturnType<typeof listObjects>;
  readonly layers: readonly string[];
  readonly chains: readonly string[];
  readonly blobs: readonly string[];
  readonly snapshots: readonly string[];
  readonly mounts: MountEntries;
}

function compareRecords(
  state: CheckState,
  { objects, layers, chains, blobs, snapshots, mounts }: Files,
  findings: Finding[],
  unreadable: string | undefined,
): Comparison {
  const { paths } = state;
  const { records, lost } = lostRecords(state, unreadable, layers, findings);
  findings.push(...records.findings);
  const images = neededImages(records);
  const whole = [...images.map(({ record }) => record), ...danglingImages(state, records)];
  // What is in use by work under way stays, also when it was removed meanwhile.
  const used = [...whole, ...(namesIn(paths.root).includes('ingest') ? sessionImages(paths) : [])];
  const needed = new Set<DiffID>([
    ...whole.flatMap((record) => record.layers.map(({ diffID }) => diffID)),
    ...mounts.living.flatMap((mount) => mount.layers),
    ...[...records.leases.values()].flatMap((lease) => lease.layers),
  ]);
  compareImages(state, records, findings);
  const lists = compareLayers(state, records, layers, needed, findings);
  compareObjects(state, lists, objects, findings);
  if (!lost) compareCounts(state, lists, findings);
  compareBlobs(state, records, used, blobs, findings);
  compareChains(used, mounts.living, chains, findings);
  findings.push(...compareSnapshots(state, records, snapshots));
  return { findings, records, lost, images, needed, mounts, lists };
}

function sessionImages(paths: StorePaths): readonly ImageRecord[] {
  try {
    return readSessions(paths).live.flatMap((session) => session.images);
  } catch (error) {
    // It is in use and cannot be read: it is told of where something would be removed.
    if (error instanceof LayerfsError) return [];
    throw error;
  }
}
