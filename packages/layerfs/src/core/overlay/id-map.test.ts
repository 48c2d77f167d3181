import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IdMap, OVERFLOW_ID, parseIdRanges, type IdRange } from './id-map.js';

function ranges(text: string): readonly IdRange[] {
  const parsed = parseIdRanges(text);
  if ('problem' in parsed) throw new Error(parsed.problem);
  return parsed;
}

describe('parseIdRanges', () => {
  it('reads triples, with a colon in front as podman writes it', () => {
    const two = [
      { inside: 0, outside: 1000, count: 1 },
      { inside: 1, outside: 110_000, count: 65_536 },
    ];
    expect(parseIdRanges('0:1000:1:1:110000:65536')).toEqual(two);
    expect(parseIdRanges(':0:1000:1:1:110000:65536')).toEqual(two);
    expect(parseIdRanges('0:0:4294967295')).toEqual([{ inside: 0, outside: 0, count: 4_294_967_295 }]);
  });

  it.each([
    ['', 'is not a list of inside:outside:count'],
    ['0:1', 'is not a list of inside:outside:count'],
    ['0:1:2:3', 'is not a list of inside:outside:count'],
    ['0:x:2', 'has "x" where a number belongs'],
    ['0:-1:2', 'has "-1" where a number belongs'],
    ['0:1e3:2', 'has "1e3" where a number belongs'],
    ['0:0:4294967296', 'has "4294967296" where a number belongs'],
    ['1:0:4294967295', 'goes beyond the largest id'],
    ['0:100:10:9:200:1', 'maps an inside id twice'],
    ['0:100:10:10:109:1', 'maps two ids to one'],
  ])('%j %s', (text, problem) => {
    expect(parseIdRanges(text)).toEqual({ problem });
  });
});

describe('IdMap', () => {
  it('maps both ways, and what is not mapped to nobody', () => {
    const map = new IdMap(ranges('0:1000:1:1:110000:65536'));
    expect([0, 1, 65_536, 65_537, 1000].map((id) => map.shown(id))).toEqual([
      1000,
      110_000,
      175_535,
      OVERFLOW_ID,
      110_999,
    ]);
    expect([1000, 110_000, 175_535, 175_536, 0].map((id) => map.stored(id))).toEqual([
      0,
      1,
      65_536,
      OVERFLOW_ID,
      OVERFLOW_ID,
    ]);
  });

  it('without ranges leaves ids alone; a squashed one shows one owner and stores what it is given', () => {
    expect([new IdMap(undefined).shown(7), new IdMap(undefined).stored(7)]).toEqual([7, 7]);
    const squashed = new IdMap(ranges('0:1000:10'), 5);
    expect([squashed.shown(3), squashed.shown(99), squashed.stored(1003)]).toEqual([5, 5, 3]);
  });

  it('undoes itself, and agrees with looking at one range after another', () => {
    // Ranges side by side inside, outside in another order.
    const counts = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 12 });
    const gaps = fc.infiniteStream(fc.integer({ min: 0, max: 5 }));
    fc.assert(
      fc.property(counts, gaps, fc.integer({ min: 0, max: 400 }), (sizes, gap, id) => {
        let inside = 0;
        let outside = 5000;
        const list = sizes.map((count) => {
          inside += gap.next().value;
          outside -= count + gap.next().value;
          const range = { inside, outside, count };
          inside += count;
          return range;
        });
        const map = new IdMap(list);
        const slow = list.find((range) => id >= range.inside && id < range.inside + range.count);
        const expected = slow === undefined ? OVERFLOW_ID : slow.outside + id - slow.inside;
        expect(map.shown(id)).toBe(expected);
        if (slow !== undefined) expect(map.stored(expected)).toBe(id);
      }),
    );
  });
});
