/** All ways to mount that this machine has; what is missing is named. */
import type { Bench } from '../harness/bench.js';
import { fuseOverlayfs, unionfsFuse } from './fuse-unions.js';
import { fuseNative, layerfs, layerfsKernel } from './layerfs.js';
import { kernelOverlayfs, plainFolder } from './kernel.js';
import type { Peer, Stack } from './peer.js';

/** What can mount a stack here. @param options.unionfs false: not by unionfs-fuse */
export function mountPeers(bench: Bench, stack: Stack, options: { readonly unionfs?: boolean } = {}): Peer[] {
  const root = process.geteuid?.() === 0;
  const peers: Peer[] = [layerfs];
  if (root) peers.push(layerfsKernel);
  const native = fuseNative();
  if (native !== undefined) peers.push(native);
  if (root) peers.push(kernelOverlayfs);
  if (bench.has('fuse-overlayfs')) peers.push(fuseOverlayfs);
  if (options.unionfs !== false && bench.has('unionfs-fuse')) peers.push(unionfsFuse);
  if (root && stack.plain !== undefined) peers.push(plainFolder);
  return peers;
}
