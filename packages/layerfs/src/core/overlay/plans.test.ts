import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planMake, planMove, planRemove, type Below, type InUpper, type NameState } from './plans.js';

const below = fc.constantFrom<Below>('nothing', 'file', 'folder');
const inUpper = fc.constantFrom<InUpper>('nothing', 'whiteout', 'file', 'folder');
const state: fc.Arbitrary<NameState> = fc.record({ upper: inUpper, below });

/** What the merged root shows at a name, as kernel overlayfs looks it up. */
function seen({ upper, below }: NameState, opaque = false): 'nothing' | 'upper' | 'merged' | 'lower' {
  if (upper === 'whiteout') return 'nothing';
  if (upper === 'nothing') return below === 'nothing' ? 'nothing' : 'lower';
  return upper === 'folder' && below === 'folder' && !opaque ? 'merged' : 'upper';
}

describe('whatever was there before', () => {
  test('a name that is removed shows nothing', () => {
    fc.assert(
      fc.property(state, (before) => {
        fc.pre(seen(before) !== 'nothing');
        const plan = planRemove(before);
        const after: NameState = { ...before, upper: plan === 'remove' ? 'nothing' : 'whiteout' };
        expect(seen(after)).toBe('nothing');
        // A whiteout over nothing would only be litter, and there is something to replace only where upper has it.
        expect(plan === 'remove').toBe(before.below === 'nothing');
        if (plan !== 'remove') expect(plan === 'replace').toBe(before.upper !== 'nothing');
      }),
    );
  });

  test('what is made shows nothing of the lower', () => {
    fc.assert(
      fc.property(state, fc.boolean(), (before, isFolder) => {
        fc.pre(seen(before) === 'nothing');
        const plan = planMake(before, isFolder);
        expect(seen({ ...before, upper: isFolder ? 'folder' : 'file' }, plan.opaque)).toBe('upper');
        expect(plan.overWhiteout).toBe(before.upper === 'whiteout');
        if (!isFolder) expect(plan.opaque).toBe(false);
      }),
    );
  });

  test('what moves leaves nothing behind, and is itself at the new name', () => {
    fc.assert(
      fc.property(state, state, fc.boolean(), fc.boolean(), (from, to, isFolder, continues) => {
        const plan = planMove({ isFolder, continues }, from, to);
        expect(seen({ ...from, upper: plan.leaveWhiteout ? 'whiteout' : 'nothing' })).toBe('nothing');
        // A redirect says what it goes on with; without one a folder must not be merged with what it meets.
        expect(plan.redirect).toBe(continues);
        if (!continues) expect(seen({ ...to, upper: isFolder ? 'folder' : 'file' }, plan.opaque)).toBe('upper');
        else expect(plan.opaque).toBe(false);
      }),
    );
  });
});
