import { describe, expect, it, vi } from 'vitest';
import { Data } from '../data/data.js';
import { Bench, type Subject } from './bench.js';
import { asText, tables } from './table.js';

function newBench(full = false, rounds?: number): Bench {
  vi.spyOn(console, 'log').mockImplementation(() => undefined);
  return new Bench('work', { quick: false, full, ...(rounds === undefined ? {} : { rounds }) }, new Data(1));
}

/** Its rounds count up from 1. */
function counting(name: string, kind: Subject['kind'], before: (round: number) => void = () => undefined): Subject {
  let round = 0;
  return {
    name,
    kind,
    run() {
      before(++round);
      return round;
    },
  };
}

/** As if that much time went by. */
function wait(seconds: number): void {
  vi.spyOn(performance, 'now').mockReturnValue(performance.now() + seconds * 1000);
}

describe('a comparison', () => {
  it('runs subjects in turn, in one order and another', async () => {
    const order: string[] = [];
    const subject = (name: string): Subject => counting(name, 'peer', (round) => order.push(`${name}${round}`));
    await newBench().compare('walk', [subject('a'), subject('b')], { rounds: 12 });
    expect(order.slice(0, 2)).toEqual(['a1', 'b1']);
    // Each once in each round, and not always the same before the other.
    const rounds = Array.from({ length: 12 }, (_, i) => order.slice(2 * i, 2 * i + 2));
    expect(rounds.every((round, i) => round.toSorted().join() === `a${i + 1},b${i + 1}`)).toBe(true);
    const first = rounds.filter(([name]) => name.startsWith('a')).length;
    expect(first).toBeGreaterThan(3);
    expect(first).toBeLessThan(9);
  });

  it('goes on without a peer that fails, and notes it', async () => {
    const bench = newBench();
    const broken = counting('peer', 'peer', (round) => {
      if (round === 2) throw new Error('no such thing\nand more');
    });
    await bench.compare('walk', [counting('ours', 'ours'), broken], { rounds: 3 });
    expect(bench.figures.map(({ subject, values }) => [subject, values])).toEqual([['ours', [1, 2, 3]]]);
    expect(bench.notes).toEqual([
      { benchmark: 'work', title: 'walk', text: 'without peer, which failed: no such thing' },
    ]);
    expect(asText(tables(bench.figures, bench.notes)[0])).toContain('(without peer, which failed: no such thing)');
  });

  it('gives all of them all rounds where they are close', async () => {
    const slow = (name: string, kind: Subject['kind']): Subject => counting(name, kind, () => wait(25));
    const bench = newBench();
    await bench.compare('walk', [slow('ours', 'ours'), slow('peer', 'peer')], { rounds: 4, close: true });
    expect(bench.figures.map(({ values }) => values.length)).toEqual([4, 4]);
    expect(bench.notes).toEqual([]);
  });

  it('ends when one of ours fails', async () => {
    const broken = counting('ours', 'ours', () => {
      throw new Error('broken');
    });
    await expect(newBench().compare('walk', [broken], { rounds: 3 })).rejects.toThrow('broken');
  });

  it('gives a peer that takes long no more rounds, and ours all of them', async () => {
    const slow = (name: string, kind: Subject['kind']): Subject => counting(name, kind, () => wait(25));
    const bench = newBench(false, 3);
    await bench.compare('walk', [slow('ours', 'ours'), slow('peer', 'peer')], { rounds: 3 });
    expect(bench.figures.map(({ values }) => values.length)).toEqual([3, 1]);
    expect(bench.notes.map(({ text }) => text)).toEqual(['peer takes long: 1 of 3 rounds']);
    expect(tables(bench.figures)[0].rows[0]).toContain('rounds');
    const steady = newBench();
    await steady.compare('walk', [slow('ours', 'ours')], { rounds: 5 });
    expect(steady.figures.map(({ values }) => values.length)).toEqual([2]);
    expect(steady.notes.map(({ text }) => text)).toEqual(['2 of 5 rounds, as they take long']);
    const full = newBench(true);
    await full.compare('walk', [slow('ours', 'ours'), slow('peer', 'peer')], { rounds: 3 });
    expect(full.figures.map(({ values }) => values.length)).toEqual([3, 3]);
  });
});

it('a series keeps what a peer did before it failed', async () => {
  const bench = newBench();
  const run = (fails: boolean) => (keep: (value: number) => void) => {
    keep(1);
    if (fails) throw new Error('full');
    keep(2);
  };
  const subjects = [
    { name: 'ours', kind: 'ours', run: run(false) },
    { name: 'peer', kind: 'peer', run: run(true) },
  ] as const;
  await bench.compareSeries(['write', 'rm'], subjects, { rounds: 2 });
  expect(bench.figures.map(({ title, subject, values }) => [title, subject, values])).toEqual([
    ['write', 'ours', [1, 1]],
    ['write', 'peer', [1]],
    ['rm', 'ours', [2, 2]],
  ]);
  expect(bench.notes).toEqual([{ benchmark: 'work', title: 'rm', text: 'without peer, which failed: full' }]);
});
