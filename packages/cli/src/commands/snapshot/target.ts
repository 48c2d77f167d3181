import { findMount, LayerfsError, type Store } from 'layerfs';

/**
 * The name of the snapshot that a command was given: by its name, or by where it is mounted.
 * @throws LayerfsError not-found; failed-precondition for a read-only mount
 */
export function snapshotName(store: Store, target: string): string {
  if (store.snapshots().some(({ name }) => name === target)) return target;
  const found = findMount(store.root, target);
  // Names have no slash: the store says what there is.
  if (found === undefined || found.inside !== '/') return store.snapshot(target).name;
  const { snapshot, mountpoint, ref } = found.mount;
  if (snapshot !== undefined) return snapshot;
  throw new LayerfsError('failed-precondition', `${mountpoint} shows ${ref} read-only: nothing can be changed in it`);
}
