/** By whom the mounts of tests are served: tests that loop over them run with each, the others with the kernel's protocol. */
import { createRequire } from 'node:module';
import type { TestContext } from 'vitest';

export type Transport = 'kernel' | 'fuse-native';

const require = createRequire(new URL('../../packages/fuse/package.json', import.meta.url));

function whyNoBinding(): string | undefined {
  try {
    require.resolve('fuse-native');
  } catch {
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

/** Skips a test of something that libfuse 2 or its binding cannot express; docs/mount.md lists these. */
export function beyondNative(context: TestContext, transport: Transport, what: string): void {
  if (transport === 'fuse-native') context.skip(`fuse-native: ${what}`);
}
