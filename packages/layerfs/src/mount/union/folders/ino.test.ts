import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InoSpace } from './ino.js';

const HIGH = 2 ** 12;
const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe('InoSpace', () => {
  it('shows real numbers on one device', () => {
    const space = new InoSpace([{ major: 8, minor: 1 }]);
    expect(space.shown(8, 1, 12, 0)).toBe(12);
    expect(space.shown(8, 1, 0, 1)).toBe(2 ** 32);
    expect(space.limit).toBe(2 ** 45);
  });

  it('gives each device its room, in the order of their numbers', () => {
    const devices = [
      { major: 0, minor: 50 },
      { major: 8, minor: 1 },
      { major: 0, minor: 7 },
    ];
    for (const order of [devices, devices.toReversed(), [...devices, ...devices]]) {
      const space = new InoSpace(order);
      expect([space.shown(0, 7, 5, 0), space.shown(0, 50, 5, 0), space.shown(8, 1, 5, 0)]).toEqual([
        5,
        2 ** 44 + 5,
        2 * 2 ** 44 + 5,
      ]);
      expect(space.limit).toBe(4 * 2 ** 44);
    }
  });

  it('shows what does not fit by a hash below the limit, and tells such files apart all the same', () => {
    const space = new InoSpace([{ major: 8, minor: 1 }]);
    const again = new InoSpace([{ major: 8, minor: 1 }]);
    fc.assert(
      fc.property(word, fc.integer({ min: HIGH, max: 2 ** 32 - 1 }), (low, high) => {
        const shown = space.shown(8, 1, low, high);
        expect(shown).toBe(again.shown(8, 1, low, high));
        expect(shown).toBeGreaterThanOrEqual(2 ** 44);
        expect(shown).toBeLessThan(space.limit);
        expect(space.identity(8, 1, low, high)).toBeGreaterThanOrEqual(space.limit);
      }),
    );
    expect(space.identity(8, 1, 1, 2 ** 31)).not.toBe(space.identity(8, 1, 2, 2 ** 31));
    expect(space.identity(8, 1, 1, 2 ** 31)).toBe(space.identity(8, 1, 1, 2 ** 31));
    // A device that nobody named: something is mounted below.
    expect(space.shown(9, 9, 3, 0)).toBeGreaterThanOrEqual(2 ** 44);
    expect(space.identity(9, 9, 3, 0)).not.toBe(space.identity(8, 1, 3, 0));
  });

  it('stays exact with more devices than there is room for', () => {
    const space = new InoSpace(Array.from({ length: 1000 }, (_, minor) => ({ major: 0, minor })));
    expect(space.limit).toBeLessThanOrEqual(2 ** 52);
    expect(space.shown(0, 999, 7, 0)).toBeLessThan(space.limit);
    expect(space.identity(0, 999, 7, 0)).not.toBe(space.identity(0, 998, 7, 0));
  });
});
