import { LayerfsError } from '../core/error.js';
import { listMounts } from './registry/mounts.js';
import type { MountableImage, MountOptions, MountSource } from './prepare.js';
import type { WritablePlan } from './server/plan.js';

/** A writable snapshot, as mounting needs it. */
export interface MountableSnapshot {
  readonly name: string;
  /** The image as it was named, and its manifest digest. */
  readonly ref: string;
  readonly image: string;
  readonly upper: string;
  readonly work: string;
  readonly mountpoints: readonly string[];
}

/** What is to be mounted. */
export interface MountTarget {
  readonly image: MountableImage;
  readonly writable?: WritablePlan & { readonly snapshot: string };
}

/**
 * The image, and for a writable mount its snapshot: the one of that name, or a new one.
 * @throws LayerfsError not-found; failed-precondition when the snapshot is of another image or mounted already
 */
export async function mountTarget(
  source: MountSource,
  ref: string,
  options: MountOptions,
  suits: (image: MountableImage) => Promise<void> = () => Promise.resolve(),
): Promise<MountTarget> {
  if (options.writable !== true) return { image: await source.tree(ref) };
  const snapshot = await snapshotFor(source, ref, options.name, suits);
  const [mountpoint] = snapshot.mountpoints;
  if (mountpoint !== undefined) {
    // A mount that is not listed here is used all the same.
    const where = listMounts(source.root).some((mount) => mount.mountpoint === mountpoint)
      ? `already mounted on ${mountpoint}`
      : `still in use where it was mounted, ${mountpoint}: in another mount namespace (a container?), or it was unmounted lazily`;
    throw new LayerfsError('failed-precondition', `Snapshot ${snapshot.name} is ${where}`);
  }
  return {
    image: await source.snapshotTree(snapshot.name),
    writable: {
      snapshot: snapshot.name,
      upper: snapshot.upper,
      work: snapshot.work,
      volatile: options.volatile ?? false,
    },
  };
}

async function snapshotFor(
  source: MountSource,
  ref: string,
  name: string | undefined,
  suits: (image: MountableImage) => Promise<void>,
): Promise<MountableSnapshot> {
  const known = source.snapshots().find((snapshot) => snapshot.name === name);
  if (known === undefined) {
    await suits(await source.tree(ref));
    return source.createSnapshot(ref, name === undefined ? {} : { name });
  }
  if (ref === known.ref || ref === known.name) return known;
  const { image } = await source.tree(ref);
  if (image === known.image) return known;
  throw new LayerfsError(
    'failed-precondition',
    `Snapshot ${known.name} is of ${known.ref}, not of ${ref}: choose another name, or remove it with layerfs rm`,
  );
}
