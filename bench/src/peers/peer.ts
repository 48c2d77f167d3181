/** Ways to bring up the same merged root. */
import type { Kind } from '../harness/figure.js';
import { onRelease } from '../harness/release.js';

/** What is to be mounted: the same layers in each form that a peer wants. */
export interface Stack {
  /** A store of ours that has the image. */
  readonly store: string;
  readonly image: string;
  /** Each layer unpacked, topmost first. */
  readonly lowers: readonly string[];
  /** The merged root as plain files: the limit; where it was made. */
  readonly plain?: string;
}

/** Something that mounts stacks. */
export interface Peer {
  readonly name: string;
  readonly kind: Kind;
  /** Gets fewer rounds when they take long, as peers do. */
  readonly spare?: boolean;
  /** Mounts, read-only; returns the serving process, where there is one. */
  mount(stack: Stack, mountpoint: string): number | undefined;
  /** The same at several places, two at a time, where one after the other would take long. */
  mountMany?(stack: Stack, mountpoints: readonly string[]): number[];
  /**
   * Mounts with an upper folder that is new.
   * @param scratch an empty folder for upper and work, on the filesystem that is measured
   */
  mountWritable(stack: Stack, mountpoint: string, scratch: string): number | undefined;
  unmount(stack: Stack, mountpoint: string): void;
}

/** A mount for as long as an action takes; also an interrupt ends it. */
export function whileMounted<T>(
  peer: Peer,
  stack: Stack,
  mountpoint: string,
  action: (pid: number | undefined) => T,
  scratch?: string,
): T {
  const pid = scratch === undefined ? peer.mount(stack, mountpoint) : peer.mountWritable(stack, mountpoint, scratch);
  const release = onRelease(() => peer.unmount(stack, mountpoint));
  try {
    return action(pid);
  } finally {
    release();
  }
}
