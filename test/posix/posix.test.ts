/**
 * POSIX as a mounted filesystem must keep it, system call by system call. The same cases run on a plain folder (all must
 * pass: that proves the cases), on kernel overlayfs (what it falls short of is printed) and on the union of layerfs, which
 * must not fail a case that overlayfs passes.
 *
 * `npx vitest run test/posix -t 'layerfs union rename:'` runs one family on one system, LAYERFS_POSIX_UNION=1 switches the
 * union on, LAYERFS_POSIX_SEEDS=200 makes the random cases a long search.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest';
import { mountsBelow } from '../support/store-listing.js';
import { scratchFolder } from '../support/scratch.js';
import { umount2 } from '@layerfs/linux';
import { hasMachineIds } from '@layerfs/linux/initial-namespace';
import { cases } from './cases/index.js';
import { Skip, type Case } from './harness/family.js';
import { endPeers } from './harness/peer.js';
import { expectCase, prepareTemplate } from './harness/run.js';
import { layerfsUnion } from './systems/layerfs.js';
import { overlayfs } from './systems/overlayfs.js';
import { plain } from './systems/plain.js';
import type { Mounted, System } from './systems/system.js';

const isRoot = process.getuid?.() === 0;
// On a disk, which can do more than memory: all of fallocate, and a limit to the size of files.
const scratch = scratchFolder('layerfs-posix-', true);
const template = join(scratch, 'template');
/** Runs that overlayfs passed, and those that it failed or had to leave out. */
const passes = new Set<string>();
const fallsShort = new Set<string>();
const skipped = new Map<string, number>();
let impossible: ReadonlySet<number> = new Set();
const NOT_HERE = 'cannot be in a user namespace';

const LOWER = ' (lower)';

interface Run {
  readonly index: number;
  readonly item: Case;
  /** Whether on prepared content of the layer. */
  readonly where: '' | typeof LOWER;
}

const runs = cases.flatMap((item, index): Run[] => [
  { index, item, where: '' },
  ...(item.prepare === undefined ? [] : [{ index, item, where: LOWER } as const]),
]);

function skip(context: TestContext, reason: string): never {
  skipped.set(reason, (skipped.get(reason) ?? 0) + 1);
  return context.skip(reason);
}

/** What a system's cases come to: `judge` gets what a case threw, or undefined. */
type Judge = (context: TestContext, name: string, error: unknown) => void;

function describeSystem(system: System, judge: Judge): void {
  const reason = system.missing();
  if (reason !== undefined) console.warn(`skipped: POSIX cases on ${system.name}: ${reason}`);
  describe.skipIf(reason !== undefined)(`POSIX on ${system.name}`, () => {
    let mounted: Mounted;
    beforeAll(async () => {
      const work = join(scratch, system.name.replaceAll(' ', '-'));
      mkdirSync(work);
      mounted = await system.mount(work, template);
    });
    afterAll(async () => {
      await endPeers();
      await mounted.unmount();
    });
    for (const { item, index, where } of runs) {
      test(`${item.name}${where}`, async (context) => {
        if (item.needsRoot && !isRoot) skip(context, 'needs root');
        if (impossible.has(index)) skip(context, NOT_HERE);
        let error: unknown;
        try {
          await expectCase(mounted, index, item, where === LOWER);
        } catch (thrown) {
          error = thrown;
        }
        const beyond = system.beyond?.get(item.name);
        if (beyond !== undefined) {
          // Once it can do this, the table must no longer say that it cannot.
          if (error === undefined) expect.fail(`${system.name} does what is said to be beyond it: ${beyond}`);
          return;
        }
        judge(context, item.name + where, error);
      });
    }
  });
}

const umask = process.umask(0);
beforeAll(() => {
  chmodSync(scratch, 0o755);
  impossible = prepareTemplate(template, cases, isRoot);
});
afterAll(() => {
  process.umask(umask);
  for (const mountpoint of mountsBelow(scratch).toReversed()) umount2(mountpoint, 2);
  rmSync(scratch, { recursive: true, force: true });
  for (const [reason, times] of skipped) console.warn(`skipped: ${String(times)} POSIX cases: ${reason}`);
});

describeSystem(plain, (context, _, error) => {
  if (error instanceof Skip) skip(context, error.message);
  // Devices, attributes of other classes and such are not for who is root in a namespace only.
  if (error !== undefined && !hasMachineIds()) skip(context, NOT_HERE);
  if (error !== undefined) throw error;
});
describeSystem(overlayfs, (_, name, error) => {
  if (error === undefined) {
    passes.add(name);
    return;
  }
  // Not a failure of ours, and what is compared with below.
  fallsShort.add(name);
  if (error instanceof Skip) {
    skipped.set(error.message, (skipped.get(error.message) ?? 0) + 1);
    return;
  }
  // On one line, and names of 255 bytes not in full.
  const message = error instanceof Error ? error.message : 'no error';
  const what = message
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/(.)\1{20,}/g, '$1…')
    .slice(0, 200);
  console.warn(`overlayfs falls short: ${name}: ${what}`);
});
describeSystem(layerfsUnion, (context, name, error) => {
  // What is asked of the union: it fails no case that overlayfs passes.
  if (error === undefined || fallsShort.has(name)) return;
  // What overlayfs can do must not be skipped either.
  if (error instanceof Skip && !passes.has(name)) skip(context, error.message);
  throw error;
});
