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

/**
 * {@link explain} of a path below a mount point.
 * @throws LayerfsError not-found when the path lies in no mount of this store, or when the image is gone by name and digest
 */
export async function explainMounted(
  source: ExplainSource,
  path: string,
): Promise<Explanation & { readonly mount: ListedMount }> {
  const found = findMount(source.root, path);
  if (found === undefined) throw new LayerfsError('not-found', `${path} is in no mount of this store`);
  // The name may stand for another image by now; the mount shows the one it was made from.
  return { ...(await explain(source, found.mount.image, found.inside)), mount: found.mount };
}
