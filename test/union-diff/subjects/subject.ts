/** A union filesystem that can be mounted over the lowers: what the tester needs to know of each kind. */
import type { Promises } from '../run/tree.js';

/** Where the lowers lie, in each of the forms that somebody wants them in. */
export interface Lowers {
  /** Plain folders, topmost first. */
  readonly folders: readonly string[];
  /** A store of layerfs with the image `union-diff`, when layerfs is the subject. */
  readonly store?: string;
}

/** One mount: its folder has room for upper, work and mountpoint, and its name is its own. */
export interface Place {
  readonly folder: string;
  readonly name: string;
  readonly mountpoint: string;
  readonly lowers: Lowers;
}

export interface Subject {
  readonly name: string;
  readonly promises: Promises;
  /** How kernel overlayfs has to be told to mount its upper folder. */
  readonly kernelOptions: string;
  /** Mounts, the second time with what was written before. */
  mount(place: Place): void;
  unmount(place: Place): void;
  /** The upper folder, when nothing is mounted. */
  upper(place: Place): string;
}
