/**
 * The POSIX cases (test/posix) as root of a user namespace of an ordinary user: on a plain folder, on kernel overlayfs with `userxattr`, and on
 * the union of layerfs, which must not fail a case that overlayfs passes there.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { OrdinaryUser, whyNoUser } from './support/ordinary-user.js';

const TOP = join(import.meta.dirname, '..');
const reason = whyNoUser();
if (reason !== undefined) console.warn(`skipped: POSIX cases in a user namespace: ${reason}`);

describe.skipIf(reason !== undefined)('in a user namespace', () => {
  test('the union fails no POSIX case that kernel overlayfs passes', { timeout: 1_200_000 }, async () => {
    const user = await OrdinaryUser.make();
    try {
      const vitest = `'${process.execPath}' '${TOP}/node_modules/vitest/vitest.mjs' run --no-cache --configLoader runner --no-color`;
      const { code, stdout, stderr } = await user.try(
        'ranges',
        `cd '${TOP}'; ${vitest} --reporter=verbose test/posix/posix.test.ts`,
        { env: { TMPDIR: user.home }, timeout: 1_100_000 },
      );
      const failed = (stdout + stderr).split('\n').filter((line) => /FAIL|Error:|No test/.test(line));
      expect(failed).toEqual([]);
      expect(code).toBe(0);
      for (const system of ['plain folder', 'kernel overlayfs', 'layerfs union']) {
        const passed = stdout.split('\n').filter((line) => line.includes('✓') && line.includes(`POSIX on ${system}`));
        expect({ system, enough: passed.length > 2000 }).toEqual({ system, enough: true });
      }
    } finally {
      await user.end();
    }
  });
});
