/** Opens a store as a crash left it, and says what is wrong with it. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { openStore, type Store } from 'layerfs';
import { loadXxhash, Meta, ObjectList, openTree, rebuildTar, StorePaths, writeMergedTree } from '../internals.js';
import { STEPS, worldAfter, type World } from '../scenario.js';

type MetaData = InstanceType<typeof Meta>;
type ImageRecord = ReturnType<MetaData['images']>[number];
type DiffID = Parameters<MetaData['layer']>[0];

/** Which steps were done, and whether the next one was under way. */
export interface Moment {
  readonly done: number;
  readonly inFlight: boolean;
}

/** Thrown by {@link checkState}. */
export class Violation extends Error {}

function demand(right: boolean, what: string): void {
  if (!right) throw new Violation(what);
}

/** That of the root folder of all images. */
const UPPER_MODE = 0o755;

/** Files that were read through once, by path and content. */
const verified = new Set<string>();

/**
 * Everything that must hold of a store's folder after a crash: it opens; what had been done is there and whole, and so is
 * whatever else its records name; the interrupted command, run again, succeeds; then nothing is left over.
 */
export async function checkState(
  root: string,
  sources: string,
  moment: Moment,
  again: 'same' | 'import',
): Promise<void> {
  const before = worldAfter(moment.done);
  const after = moment.inFlight ? STEPS[moment.done].after(before) : before;
  await opened(root, async (meta) => {
    demand(readdirSync(join(root, 'ingest')).length === 0, 'ingest was not swept');
    compare(meta, before, after, moment);
    await verify(root, meta);
  });
  if (moment.inFlight && again === 'same') await STEPS[moment.done].run(root, sources);
  if (again === 'import') for (const step of [STEPS[0], STEPS[1], STEPS[3]]) await step.run(root, sources);
  await opened(root, async (meta, store) => {
    if (again === 'same') compare(meta, after, after, moment);
    await verify(root, meta);
    await store.gc();
    await verify(root, meta);
    leftovers(root, meta);
  });
}

/** Opens a store, and its records beside it. */
export async function opened(root: string, action: (meta: MetaData, store: Store) => Promise<void>): Promise<void> {
  const store = await openStore({ root });
  try {
    const meta = new Meta(join(root, 'meta/records'));
    try {
      await action(meta, store);
    } finally {
      meta.close();
    }
  } finally {
    await store.close();
  }
}

/** What was there before and after is there; nothing is there that was neither before nor after. */
function compare(meta: MetaData, before: World, after: World, { done }: Moment): void {
  const names = new Set(meta.names().map(({ name }) => name));
  const snapshots = new Set(meta.snapshots().map(({ name }) => name));
  for (const [kind, found, was, is] of [
    ['image', names, before.images, after.images],
    ['snapshot', snapshots, before.snapshots, after.snapshots],
  ] as const) {
    for (const name of was) demand(!is.has(name) || found.has(name), `${kind} ${name} is gone after ${done} steps`);
    for (const name of found) demand(was.has(name) || is.has(name), `${kind} ${name} is there after ${done} steps`);
  }
}

/** Of files that have not changed since. */
const digests = new Map<string, string>();
const MAX_DIGESTS = 10_000;

function sha256(path: string): string {
  const { ino, size, ctimeNs } = statSync(path, { bigint: true });
  const key = `${path} ${ino} ${size} ${ctimeNs}`;
  let digest = digests.get(key);
  if (digest === undefined) {
    digests.set(key, (digest = createHash('sha256').update(readFileSync(path)).digest('hex')));
  }
  return digest;
}

/** What must stay whole: images, and those that snapshots were made of. */
function needed(meta: MetaData): ImageRecord[] {
  return [...meta.images(), ...meta.snapshots().map(({ snapshot }) => snapshot.image)];
}

/** All that records name is there, and is what they say. @throws Violation, or what reading it threw */
export async function verify(root: string, meta: MetaData, inUse = false): Promise<void> {
  if (digests.size > MAX_DIGESTS) digests.clear();
  const paths = new StorePaths(root);
  const xxhash = await loadXxhash();
  for (const { name, digest } of meta.names()) demand(meta.image(digest) !== undefined, `${name} stands for no image`);
  const counts = new Map<string, number>();
  for (const { diffID } of meta.layers()) await verifyLayer(paths, xxhash, diffID, counts);
  // A layer's objects are counted down some at a time, after its record is gone; and others may add layers meanwhile.
  const going = inUse || meta.removals().length > 0;
  const total = meta.objectTotals().count;
  demand(total === counts.size || (going && total > counts.size), `${total} objects counted of ${counts.size}`);
  for (const [hex, count] of counts) {
    const counted = meta.objectCount(Buffer.from(hex, 'hex'));
    demand(counted === count || (going && counted > count), `object ${hex} is counted wrong`);
    demand(sha256(paths.object(hex)) === hex, `object ${hex} is damaged`);
  }
  for (const record of needed(meta)) {
    for (const digest of [record.digest, record.config]) {
      demand(`sha256:${sha256(paths.blob(digest))}` === digest, `blob ${digest} is damaged`);
    }
    for (const { diffID } of record.layers) demand(meta.layer(diffID) !== undefined, `layer ${diffID} has no record`);
    verifyChain(paths, xxhash, record);
  }
  for (const { digest } of meta.blobs()) {
    if (!existsSync(paths.blob(digest))) continue;
    demand(`sha256:${sha256(paths.blob(digest))}` === digest, `blob ${digest} is damaged`);
  }
  for (const { name, snapshot } of meta.snapshots()) {
    const folder = paths.snapshot(snapshot.id);
    demand(existsSync(join(folder, 'work')), `snapshot ${name} has no work`);
    const mode = statSync(join(folder, 'upper')).mode & 0o7777;
    demand(mode === UPPER_MODE, `the upper folder of snapshot ${name} has mode ${mode.toString(8)}`);
  }
}

async function verifyLayer(
  paths: InstanceType<typeof StorePaths>,
  xxhash: Awaited<ReturnType<typeof loadXxhash>>,
  diffID: DiffID,
  counts: Map<string, number>,
): Promise<void> {
  const folder = paths.layer(diffID);
  const list = ObjectList.read(join(folder, 'objects'), xxhash);
  for (let i = 0; i < list.count; i++) counts.set(list.hex(i), (counts.get(list.hex(i)) ?? 0) + 1);
  const key = ['tree', 'tar', 'objects'].map((name) => sha256(join(folder, name))).join(' ');
  if (verified.has(key)) return;
  openTree(join(folder, 'tree'), xxhash).unmap();
  // Ends with an error unless the digest is right.
  for await (const _ of rebuildTar({ paths, xxhash }, diffID));
  verified.add(key);
}

function verifyChain(
  paths: InstanceType<typeof StorePaths>,
  xxhash: Awaited<ReturnType<typeof loadXxhash>>,
  { chainID, layers }: ImageRecord,
): void {
  const path = paths.chainTree(chainID);
  // It is a cache.
  if (!existsSync(path)) return;
  const key = `${chainID} ${sha256(path)}`;
  if (verified.has(key)) return;
  const fresh = join(paths.root, 'ingest/.merged');
  const trees = layers.map(({ diffID }) => paths.layerTree(diffID));
  try {
    writeMergedTree(trees, fresh, xxhash);
    demand(sha256(fresh) === sha256(path), `the merged tree ${chainID} is damaged`);
  } finally {
    rmSync(fresh, { force: true });
  }
  verified.add(key);
}

/** Nothing lies in the store that no record names. */
export function leftovers(root: string, meta: MetaData): void {
  const paths = new StorePaths(root);
  const images = needed(meta);
  const hex = (digest: string): string => digest.slice('sha256:'.length);
  const objects = new Set<string>();
  for (const { diffID } of meta.layers()) {
    const list = readFileSync(join(paths.layer(diffID), 'objects'));
    for (let at = 8; at + 40 < list.length; at += 40) objects.add(list.toString('hex', at, at + 32));
  }
  const used = images.flatMap((image) => image.layers.map((layer) => layer.diffID));
  const blobs = [
    ...images.flatMap(({ digest, config }) => [digest, config]),
    ...meta.blobs().map(({ digest }) => digest),
  ];
  const allowed: Record<string, ReadonlySet<string>> = {
    layers: new Set(used.map(hex)),
    chains: new Set(images.map(({ chainID }) => hex(chainID))),
    'blobs/sha256': new Set(blobs.map(hex)),
    snapshots: new Set(meta.snapshots().map(({ snapshot }) => snapshot.id)),
    ingest: new Set(),
    trash: new Set(),
    mounts: new Set(),
  };
  for (const [folder, names] of Object.entries(allowed)) {
    for (const name of readdirSync(join(root, folder))) demand(names.has(name), `${folder}/${name} is left over`);
  }
  for (const { diffID } of meta.layers()) demand(used.includes(diffID), `layer ${diffID} is left over`);
  for (const prefix of readdirSync(paths.objects)) {
    demand(statSync(join(paths.objects, prefix)).isDirectory(), `objects/${prefix} is left over`);
    for (const name of readdirSync(join(paths.objects, prefix))) {
      demand(objects.has(prefix + name), `object ${prefix}${name} is left over`);
    }
  }
}

/** Names of images and snapshots. */
export interface Names {
  readonly images: readonly string[];
  readonly snapshots: readonly string[];
}

const namesOf = (meta: MetaData): Names => ({
  images: meta.names().map(({ name }) => name),
  snapshots: meta.snapshots().map(({ name }) => name),
});

/** Looks through a store that nobody else uses, frees what nothing refers to, and looks again. */
export async function checkIdle(root: string): Promise<Names> {
  let names: Names = { images: [], snapshots: [] };
  await opened(root, async (meta, store) => {
    demand(readdirSync(join(root, 'ingest')).length === 0, 'ingest was not swept');
    await verify(root, meta);
    await store.gc();
    await verify(root, meta);
    leftovers(root, meta);
    names = namesOf(meta);
  });
  return names;
}

/** Looks through a store while nobody can take away anything. */
export async function verifyInUse(root: string): Promise<Names> {
  let names: Names = { images: [], snapshots: [] };
  await opened(root, (meta, store) =>
    store.shared(async () => {
      await verify(root, meta, true);
      names = namesOf(meta);
    }),
  );
  return names;
}
