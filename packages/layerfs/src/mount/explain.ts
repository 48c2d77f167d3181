import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import type { Tree } from '../core/tree/tree.js';
import { LayerfsError } from '../core/error.js';
import { explainPath, type Explanation } from './explain/explanation.js';
import { findMount } from './registry/mounts.js';
import type { ListedMount } from './registry/registry.js';

/** What explaining needs of a store; `Store` has it. */
export interface ExplainSource {
  /** The store's folder. */
  readonly root: string;
  readonly paths: { readonly objects: string };
  tree(ref: string): Promise<{ readonly tree: Tree }>;
  /** The layers' own trees, base first. */
  layerTrees(
    ref: string,
  ): Promise<readonly { readonly tree: Tree; readonly diffID: string; readonly createdBy?: string }[]>;
}

/**
 * Says which layer a path of an image comes from, what it hides, and where its content lies.
 * @param ref an image name in the store
 * @param path inside the image (UTF-8), with or without a leading slash; links on the way are followed, the last is not
 * @throws LayerfsError not-found
 */
export async function explain(source: ExplainSource, ref: string, path: string): Promise<Explanation> {
  const { tree } = await source.tree(ref);
  const layers = await source.layerTrees(ref);
  return explainPath({ merged: tree, layers, objects: source.paths.objects }, path);
}

/** What the snapshot of a writable mount has at a path. */
export interface SnapshotEntry {
  readonly name: string;
  /** `changed`: its own file, whatever the image has; `removed`: it hides the image's; `unchanged`: nothing. */
  readonly state: 'changed' | 'removed' | 'unchanged';
  /** The file or whiteout in the upper folder. */
  readonly file?: string;
}

/**
 * {@link explain} of a path below a mount point; of a writable mount also what its snapshot has there. What the image has is left
 * out where it has nothing of that name.
 * @throws LayerfsError not-found when the path lies in no mount of this store, or when the image is gone by name and digest
 */
export async function explainMounted(
  source: ExplainSource & { snapshots?(): readonly { readonly name: string; readonly upper: string }[] },
  path: string,
): Promise<Explanation & { readonly mount: ListedMount; readonly snapshot?: SnapshotEntry }> {
  const found = findMount(source.root, path);
  if (found === undefined) throw new LayerfsError('not-found', `${path} is in no mount of this store`);
  const { mount, inside } = found;
  const snapshot = source.snapshots?.().find(({ name }) => name === mount.snapshot);
  const entry = snapshot === undefined ? undefined : inUpper(snapshot.name, snapshot.upper, inside);
  try {
    // The name may stand for another image by now; the mount shows the one it was made from.
    const explanation = await explain(source, mount.image, inside);
    return { ...explanation, mount, ...(entry === undefined ? {} : { snapshot: entry }) };
  } catch (error) {
    const missing = error instanceof LayerfsError && error.code === 'not-found';
    if (!missing || entry === undefined || entry.state === 'unchanged') throw error;
    return { path: inside, hides: [], mount, snapshot: entry };
  }
}

function inUpper(name: string, upper: string, inside: string): SnapshotEntry {
  let file = upper;
  for (const step of inside.split('/').filter((part) => part !== '')) {
    file = join(file, step);
    const stats = lstatSync(file, { throwIfNoEntry: false });
    if (stats === undefined) return { name, state: 'unchanged' };
    if (stats.isCharacterDevice() && stats.rdev === 0) return { name, state: 'removed', file };
    if (!stats.isDirectory()) break;
  }
  return { name, state: 'changed', file };
}
