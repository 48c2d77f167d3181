/** By whom the mounts of tests are served: tests that loop over them run with each, the others with the kernel's protocol. */
import { existsSync } from 'node:fs';

export type Transport = 'kernel' | 'fuse-native';

const NATIVE: Transport = 'fuse-native';

function whyNoBinding(): string | undefined {
  if (!existsSync(new URL(`../../packages/fuse/node_modules/${NATIVE}`, import.meta.url))) {
    return 'the npm package fuse-native is not installed';
  }
  return process.platform === 'linux' && process.arch === 'x64'
    ? undefined
    : 'fuse-native has no binary for this machine';
}

const wanted = process.env['LAYERFS_TEST_TRANSPORT'];
const reason = whyNoBinding();
if (reason !== undefined) console.warn(`skipped: mounts by fuse-native: ${reason}`);

/** One of them, where LAYERFS_TEST_TRANSPORT names it. */
export const TRANSPORTS: readonly Transport[] = (['kernel', 'fuse-native'] as const).filter(
  (name) => (wanted === undefined || wanted === name) && (name === 'kernel' || reason === undefined),
);

/** For tests that do not loop. */
export const DEFAULT_TRANSPORT: Transport = wanted === 'fuse-native' ? 'fuse-native' : 'kernel';

/** Words for `layerfs mount`. */
export function transportOptions(transport: Transport): string[] {
  return transport === 'kernel' ? [] : ['--transport', transport];
}
