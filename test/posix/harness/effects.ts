/** Which times a call changes. */
import { strict as assert } from 'node:assert';
import { lstat } from './calls.js';
import { expectRecent, nextTick } from './expect.js';

/**
 * For each path (`old>new` where a rename moves it) the times that must change: letters of `mc`, each followed by `?`
 * where POSIX leaves it open. `a?` allows a new atime; otherwise none of the three may change.
 */
export type Changes = Readonly<Record<string, string>>;

const TIMES = { a: 'atime', m: 'mtime', c: 'ctime' } as const;

/**
 * What is judged: that times change which must, and mtime and atime stay which must; or that ctime stays where it must.
 * The latter is apart, as a union that copies up cannot easily keep it.
 */
export type Aspect = 'changes' | 'ctime that stays';

/** Acts, and compares the times of all named paths before and after. */
export function expectTimes(changes: Changes, aspect: Aspect, act: () => void): void {
  const paths = Object.entries(changes).map(([path, letters]) => {
    const [from, to = from] = path.split('>');
    return { to, letters, before: lstat(from) };
  });
  nextTick();
  act();
  const wrong: string[] = [];
  for (const { to, letters, before } of paths) {
    const after = lstat(to);
    for (const [letter, key] of Object.entries(TIMES)) {
      if (letters.includes(`${letter}?`)) continue;
      const must = letters.includes(letter);
      if ((key === 'ctime' && !must) !== (aspect === 'ctime that stays')) continue;
      if (after[key] !== before[key]) {
        if (must) expectRecent(after[key], `${key} of ${to}`);
        else wrong.push(`${key} of ${to} changed by ${String(after[key] - before[key])} ns`);
      } else if (must) wrong.push(`${key} of ${to} did not change`);
    }
  }
  assert.equal(wrong.join(', '), '', wrong.join(', '));
}
