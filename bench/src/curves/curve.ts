/** What something costs as one thing grows, each peer on the same axes. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Area } from '../harness/area.js';
import type { Bench } from '../harness/bench.js';
import { turn } from '../harness/release.js';
import { whileMounted, type Peer, type Stack } from '../peers/peer.js';
import { mountPeers } from '../peers/peers.js';

/** A peer for which one round takes longer (milliseconds) is left out where there is more. */
const PATIENCE = 5000;
/** Rounds at a point: as many, and at least unless a curve needs more, as one alone has no spread. */
const [ROUNDS, LEAST] = [3, 2];
/** After so long (milliseconds) no more rounds are begun at a point. */
const POINT = 5000;
/** After so long (milliseconds) not even a second. */
const LONG = 40_000;
/** After so long (milliseconds, with what is prepared) no further point is begun. */
const AXIS = 60_000;

/** One of the things that are measured on each mount. */
export interface Measure {
  readonly title: string;
  readonly unit: string;
  /** @returns in the unit */
  readonly run: (mountpoint: string) => number;
}

/** A point on the axis. */
export interface Point {
  readonly value: number;
  readonly stack: Stack;
  readonly measures: readonly Measure[];
}

/**
 * Measures a curve: at each point every peer in turn, each round on a mount of its own.
 * @param least rounds that there are all the same when they take long
 */
export async function measureCurve(
  bench: Bench,
  area: Area,
  axis: string,
  values: readonly number[],
  make: (value: number) => Point,
  least = LEAST,
): Promise<void> {
  const mountpoint = join(area.folder, 'mnt');
  mkdirSync(mountpoint, { recursive: true });
  const out = new Set<string>();
  const titles = new Set<string>();
  const started = performance.now();
  for (const [i, value] of values.entries()) {
    if (performance.now() - started > AXIS && !bench.full) {
      const rest = values.slice(i).map((each) => each.toLocaleString('en-US'));
      for (const title of titles) bench.note(title, `${axis} ${rest.join(', ')}: left out, as it takes long`);
      break;
    }
    const preparing = performance.now();
    const { stack, measures } = make(value);
    for (const { title } of measures) titles.add(title);
    const peers = mountPeers(bench, stack).filter(({ name }) => !out.has(name));
    const found = new Map<string, number[]>();
    const began = performance.now();
    const left = (who: string, why: string): void => {
      for (const { title } of measures) bench.note(title, `${axis} ${value.toLocaleString('en-US')}: ${who} ${why}`);
      out.add(who);
    };
    for (let round = 0; round < bench.rounds(Math.max(ROUNDS, least)); round++) {
      if (performance.now() - began > (round >= least ? POINT : LONG)) break;
      for (const peer of peers.filter(({ name }) => !out.has(name))) {
        await turn();
        const started = performance.now();
        const reason = measurePeer(peer, stack, mountpoint, measures, found);
        const took = performance.now() - started;
        const slow = took > PATIENCE && (peer.kind === 'peer' || peer.spare === true);
        if (reason !== undefined) left(peer.name, `fails, and is left out from here on: ${reason}`);
        else if (slow && value === values.at(-1)) out.add(peer.name);
        else if (slow) left(peer.name, 'takes long, and is left out from here on');
      }
    }
    for (const { title, unit } of measures) {
      for (const { name, kind } of peers) {
        const rounds = found.get(`${title} ${name}`) ?? [];
        if (rounds.length > 0) bench.add(title, { subject: name, kind, unit, values: rounds, at: { axis, value } });
      }
    }
    const seconds = (from: number, to: number): string => `${((to - from) / 1000).toFixed(0)} s`;
    const place = `${axis} ${value.toLocaleString('en-US')}`;
    bench.say(`${place}: prepared in ${seconds(preparing, began)}, measured in ${seconds(began, performance.now())}`);
  }
}

/** @returns why it cannot be measured @throws what one of ours throws */
function measurePeer(
  peer: Peer,
  stack: Stack,
  mountpoint: string,
  measures: readonly Measure[],
  found: Map<string, number[]>,
): string | undefined {
  try {
    whileMounted(peer, stack, mountpoint, () => {
      for (const { title, run } of measures) {
        const key = `${title} ${peer.name}`;
        const value = run(mountpoint);
        found.set(key, [...(found.get(key) ?? []), value]);
      }
    });
    return undefined;
  } catch (error) {
    if (peer.kind !== 'peer') throw error;
    // Some have limits of their own, and those are what a curve is to show.
    return (error as Error).message.trim().slice(0, 300);
  }
}
