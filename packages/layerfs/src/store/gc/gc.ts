/** Garbage collection as users see it: what goes, what stays and why. */
import { join } from 'node:path';
import type { Digest, DiffID } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import { lockFile } from '../locks.js';
import { collect, unusedFiles, unusedLayers, type Collected, type GcProgress, type Tally } from './collect.js';
import { proveCounts, type Disagreement } from './counts.js';
import { blocksOf, Freeable } from './disk-usage.js';
import { keptThings, type KeptThing } from './kept.js';
import { forgetExpired } from './leases.js';
import { markReachable, type Marks } from './marks.js';
import { Reach } from './reach.js';
import { findStrays, removeStrays } from './strays.js';
import { mountsWithoutImage, removeRecords } from '../image/remove.js';

export type { GcProgress };

/** How to collect garbage. */
export interface GcOptions {
  /** Only tells what would go. */
  readonly dryRun?: boolean;
  readonly onProgress?: (event: GcProgress) => void;
  readonly signal?: AbortSignal;
}

/** What a collection freed, or would free. */
export interface GcResult {
  readonly dryRun: boolean;
  readonly layers: number;
  readonly objects: number;
  /** Of the content of the objects. */
  readonly bytes: number;
  /** On the disk, in all. */
  readonly freedBytes: number;
  /** The same by kind. `strays`: objects that no layer lists and nothing counts. */
  readonly freed: {
    readonly layers: Tally;
    readonly objects: Tally;
    readonly chains: Tally;
    readonly blobs: Tally;
    readonly strays: Tally;
  };
  /** Manifest digests of images without a name that nobody uses. */
  readonly images: readonly Digest[];
  /** Leases that have expired. */
  readonly leases: number;
  /** Mount points whose layers stay although their images are gone. */
  readonly pinned: readonly string[];
  /** Objects whose reference counts are not what the layers' lists say; of many, the first hundred. Nothing of them went. */
  readonly disagreements: readonly Disagreement[];
  readonly disagreeing: number;
  /** What should go and cannot, with the reason. */
  readonly problems: readonly string[];
  /** What stays, and why. */
  readonly kept: readonly KeptThing[];
}

/** Removes what nothing refers to, and proves the reference counts on the way. */
export async function collectGarbage(context: StoreContext, options: GcOptions = {}): Promise<GcResult> {
  const { signal } = options;
  const collector = await lockFile(context.paths.collector, 'exclusive', signal);
  try {
    if (options.dryRun === true) return await foresee(context, signal);
    const { images, leases } = await context.lock.exclusive(signal, () => removeUnnamed(context));
    const collected = await collect(context, options);
    const proof = await proveCounts(context, signal);
    const strays = await removeStrays(context, proof.table, signal);
    return result(context, false, { images, leases, collected, strays, proof });
  } finally {
    collector.release();
  }
}

/** Removes what nothing refers to after a removal, without more proof than that needs. */
export async function collectNow(
  context: StoreContext,
  options: { readonly onProgress?: (event: GcProgress) => void; readonly signal?: AbortSignal },
): Promise<Collected> {
  const collector = await lockFile(context.paths.collector, 'exclusive', options.signal);
  try {
    return await collect(context, options);
  } finally {
    collector.release();
  }
}

/** Images without a name that nobody uses. */
function unnamed({ meta }: StoreContext, marks: Marks): Digest[] {
  return meta
    .images()
    .map(({ digest }) => digest)
    .filter((digest) => !marks.images.has(digest));
}

/** The caller holds the store's lock exclusively. */
function removeUnnamed(context: StoreContext): { images: Digest[]; leases: number } {
  const leases = forgetExpired(context);
  const images = unnamed(context, markReachable(context));
  for (const digest of images) removeRecords(context, digest, []);
  return { images, leases };
}

/** What would go. */
async function foresee(context: StoreContext, signal: AbortSignal | undefined): Promise<GcResult> {
  const { meta, paths } = context;
  const images = unnamed(context, markReachable(context));
  const marks = markReachable(context, new Set(images));
  const problems: string[] = [];
  const reach = new Reach(context);
  const layers = unusedLayers(context, marks, reach, problems).map(({ diffID }) => diffID);
  await reach.scan(signal);
  const objects = { count: 0, bytes: 0, contentBytes: 0 };
  for (const { hex, size } of reach.unlisted()) {
    objects.count++;
    objects.contentBytes += size;
    objects.bytes += blocksOf(paths.object(hex));
  }
  const files = unusedFiles(context, marks);
  const going = new Set<DiffID>(layers);
  const blobs = meta
    .blobs()
    .filter(({ blob }) => going.has(blob.diffID))
    .map(({ digest }) => paths.blob(digest))
    .concat(files.blobs.map((name) => join(paths.blobs, name)));
  const proof = await proveCounts(context, signal);
  const folders = new Freeable();
  const collected: Collected = {
    layers: sum(layers.map((diffID) => folders.folder(paths.layer(diffID)))),
    objects,
    chains: sum(files.chains.map((name) => folders.folder(join(paths.chains, name)))),
    blobs: sum(blobs.map(blocksOf).filter((bytes) => bytes > 0)),
    disagreements: [],
    problems,
  };
  const strays = sum((await findStrays(context, proof.table, signal)).map((hex) => blocksOf(paths.object(hex))));
  const now = Date.now();
  const leases = meta.leases().filter(({ lease }) => Date.parse(lease.expires) <= now).length;
  return result(context, true, { images, leases, collected, strays, proof }, marks);
}

interface Parts {
  readonly images: readonly Digest[];
  readonly leases: number;
  readonly collected: Collected;
  readonly strays: Tally;
  readonly proof: { readonly disagreeing: number; readonly disagreements: readonly Disagreement[] };
}

function result(
  context: StoreContext,
  dryRun: boolean,
  { images, leases, collected, strays, proof }: Parts,
  marks = markReachable(context),
): GcResult {
  const { layers, objects, chains, blobs, disagreements, problems } = collected;
  return {
    dryRun,
    layers: layers.count,
    objects: objects.count,
    bytes: objects.contentBytes,
    freedBytes: layers.bytes + objects.bytes + chains.bytes + blobs.bytes + strays.bytes,
    freed: { layers, objects: { count: objects.count, bytes: objects.bytes }, chains, blobs, strays },
    images,
    leases,
    pinned: mountsWithoutImage(context),
    disagreements: [...disagreements, ...proof.disagreements],
    disagreeing: disagreements.length + proof.disagreeing,
    problems,
    kept: keptThings(context, marks),
  };
}

function sum(bytes: readonly number[]): Tally {
  return { count: bytes.length, bytes: bytes.reduce((all, each) => all + each, 0) };
}
