/** What is done in a writable mount comes out as in a plain folder, and is the same when it is mounted again. */
import { expect } from 'vitest';
import { compareFolders, judge, report, type Excuse } from '../compare/compare.js';
import { snapshot } from '../compare/snapshot.js';
import { DEFAULT_TRANSPORT } from './transports.js';
import { sh, type UnionPlace } from './union-place.js';

/** What fuse-native cannot (docs/mount.md): the bytes that are no UTF-8 are shown as private characters, and not all of the times are kept. */
const BEYOND_NATIVE: readonly Excuse[] = [
  {
    reason: 'times have milliseconds, and one of atime and mtime alone is not set',
    matches: ({ field }) => field === 'mtime',
  },
  { reason: 'a name that is no UTF-8', matches: ({ path, field }) => field === 'exists' && isNoUtf8(path) },
  { reason: 'a target that is no UTF-8', matches: ({ field, right }) => field === 'target' && isNoUtf8(right ?? '') },
];
const EXCUSES = DEFAULT_TRANSPORT === 'fuse-native' ? BEYOND_NATIVE : [];

/** Whether bytes, in latin1, are no UTF-8, or are what is shown in their place. */
function isNoUtf8(bytes: string): boolean {
  const text = Buffer.from(bytes, 'latin1').toString('utf8');
  return /[\u{EF80}-\u{EFFF}\uFFFD]/u.test(text);
}

/** Nothing of two folders differs but what is excused. */
export async function expectSame(mounted: string, plain: string, excuses: Excuse[] = []): Promise<void> {
  const { unexplained, paths } = await compareFolders(mounted, plain, [...EXCUSES, ...excuses]);
  expect(report(unexplained, ['mounted', 'plain'])).toBe('');
  expect(paths).toBeGreaterThan(1);
}

/** Does the same in two folders at a time; both say the same, which is returned. */
export async function expectSaidInBoth(roots: string[], run: (root: string) => Promise<string>): Promise<string> {
  // Both have ended when one has failed.
  const said = await Promise.allSettled(roots.map(run));
  const [ours, theirs] = said.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
  expect(ours).toBe(theirs);
  return ours;
}

/** What was written on either side after a moment (milliseconds since 1970) has its own times; all else keeps those that it had. */
export function writtenSince(moment: number): Excuse {
  // The kernel's clock for files may be some milliseconds behind.
  const first = BigInt(moment - 1000) * 1_000_000n;
  return {
    reason: 'written at another time',
    matches: ({ field, left, right }) =>
      field === 'mtime' && left !== undefined && right !== undefined && BigInt(left) > first && BigInt(right) > first,
  };
}

/** Unmounts a snapshot and mounts it again at the same place: it shows the same, inode numbers and link counts included. */
export async function expectSameAfterRemount(
  place: UnionPlace,
  mountpoint: string,
  [ref, name, ...options]: [ref: string, name: string, ...options: string[]],
): Promise<void> {
  const list = `cd "$1"; find . -printf '%p %y %m %U %G %n %i %s %T@ %l\\n' | grep -av '^[^ ]* d ' | sort; find . -type d -printf '%p %m %U %G %n %i %T@\\n' | sort`;
  const listed = new Set((await sh(list, [mountpoint])).split('\n'));
  const before = await snapshot(mountpoint);
  await place.unmount(mountpoint);
  await place.rw(ref, name, options, mountpoint);
  const { unexplained } = judge(before, await snapshot(mountpoint));
  expect(report(unexplained, ['before', 'after'])).toBe('');
  expect((await sh(list, [mountpoint])).split('\n').filter((line) => !listed.has(line))).toEqual([]);
}
