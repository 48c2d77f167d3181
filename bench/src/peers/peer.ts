/** Ways to bring up the same merged root. */
import type { Bench, Subject } from '../harness/bench.js';
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
  /** Mounts, read-only; returns the serving process, where there is one. */
  mount(stack: Stack, mountpoint: string): number | undefined;
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

/** A subject for each peer: each round on a mount of its own, made for it. */
export function onMounts(
  peers: readonly Peer[],
  stack: Stack,
  mountpoint: string,
  action: (pid: number | undefined) => number,
): Subject[] {
  return peers.map((peer) => ({
    name: peer.name,
    kind: peer.kind,
    run: () => whileMounted(peer, stack, mountpoint, action),
  }));
}

/** Compares peers by what an action takes on a mount of its own. */
export function comparePeers(
  bench: Bench,
  title: string,
  peers: readonly Peer[],
  stack: Stack,
  mountpoint: string,
  action: () => number,
  rounds: number,
): Promise<void> {
  return bench.compare(title, onMounts(peers, stack, mountpoint, action), { rounds });
}
