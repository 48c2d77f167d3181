/**
 * Random operations (test/union-diff) as root of a user namespace of an ordinary user: the writable mount against kernel overlayfs with `userxattr`.
 * That has neither redirects nor an index: folders of lowers that it cannot rename, and new hardlinks, are left out. LAYERFS_ROOTLESS_SEQUENCES
 * says how many sequences.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { OrdinaryUser, whyNoUser } from './support/ordinary-user.js';

const PROGRAM = join(import.meta.dirname, 'dist/union-diff/main.js');
const SEQUENCES = process.env['LAYERFS_ROOTLESS_SEQUENCES'] ?? '20';
const reason = whyNoUser();
if (reason !== undefined) console.warn(`skipped: random operations in a user namespace: ${reason}`);

describe.skipIf(reason !== undefined)('in a user namespace', () => {
  test('random operations give what they give on kernel overlayfs', { timeout: 1_200_000 }, async () => {
    const user = await OrdinaryUser.make();
    try {
      const { code, stdout, stderr } = await user.try(
        'ranges',
        `'${process.execPath}' '${PROGRAM}' --seed 20 --sequences ${SEQUENCES}`,
        { env: { LAYERFS_DIFF_AREA: user.home, LAYERFS_DIFF_MOUNT: '--no-passthrough' }, timeout: 1_100_000 },
      );
      expect(`${stdout}${stderr}ended with ${String(code)}`).toMatch(/no differences\nended with 0$/);
    } finally {
      await user.end();
    }
  });
});
