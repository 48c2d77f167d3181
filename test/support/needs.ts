/** Says why a test cannot run here, so that it is skipped with a reason that is printed. */
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'vitest';
import { ImageUnavailable, testImage, type ImageName, type TestImage, type Variant } from '../images/index.js';

/** Debian packages of the programs that tests call. */
const PACKAGES: Record<string, string> = {
  getfattr: 'attr',
  setfacl: 'acl',
  setfattr: 'attr',
  ctr: 'containerd',
  'systemd-analyze': 'systemd',
  'systemd-socket-activate': 'systemd',
  mmdebstrap: 'mmdebstrap',
  'mkfs.ext4': 'e2fsprogs',
  'mkfs.xfs': 'xfsprogs',
  losetup: 'mount',
  script: 'bsdutils',
  newuidmap: 'uidmap',
  fusermount3: 'fuse3',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
};

function has(program: string): boolean {
  return [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) =>
    existsSync(join(folder, program)),
  );
}

function whyNoFuse(): string | undefined {
  if (!existsSync('/dev/fuse')) return 'needs /dev/fuse';
  if (process.getuid?.() !== 0 && !has('fusermount3')) return 'needs fusermount3 (apt install fuse3)';
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EACCES') return 'may not open /dev/fuse';
    throw error;
  }
  return undefined;
}

/** `root`, `fuse` (the right to mount), or names of programs: the reason why not, when one is missing. */
export function missing(...things: string[]): string | undefined {
  for (const thing of things) {
    if (thing === 'root') {
      if (process.getuid?.() !== 0) return 'needs root';
    } else if (thing === 'fuse') {
      const reason = whyNoFuse();
      if (reason !== undefined) return reason;
    } else if (!has(thing)) {
      return `needs ${thing} (apt install ${PACKAGES[thing] ?? thing})`;
    }
  }
  return undefined;
}

/** Skips the running test when something is missing. */
export function need(context: TestContext, ...things: string[]): void {
  const reason = missing(...things);
  if (reason === undefined) return;
  console.warn(`skipped: ${context.task.name}: ${reason}`);
  context.skip(reason);
}

/** A test image, or a skipped test that says why it cannot be built. */
export async function needImage(
  context: TestContext,
  name: ImageName,
  variant: Variant = 'oci-gzip',
): Promise<TestImage> {
  try {
    return await testImage(name, variant);
  } catch (error) {
    if (!(error instanceof ImageUnavailable)) throw error;
    console.warn(`skipped: ${context.task.name}: ${error.message}`);
    return context.skip(error.message);
  }
}
