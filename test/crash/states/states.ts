/** The states that a crash may leave: every prefix of a log, with what was not durable in it kept, lost or in between. */
import type { Operation } from '../record/log.js';
import { Disk, type Fate } from './disk.js';
import { durableAt } from './durable.js';

/** A state of the disk after a crash. */
export interface State {
  /** How many operations were begun. */
  readonly prefix: number;
  /** What became of those that were not durable. */
  readonly what: string;
  readonly disk: Disk;
}

export interface StateOptions {
  readonly seed: number;
  /** Random states for each prefix. */
  readonly samples: number;
  /** Where the next thing is a sync, one in so many operations is lost by itself, and is all that is kept. */
  readonly stride: number;
  /** Only prefixes of these lengths. */
  readonly from?: number;
  readonly to?: number;
}

/** The same numbers for the same seed. */
export function random(seed: number): () => number {
  let at = (seed * 2654435761) >>> 0;
  return () => {
    at = (Math.imul(at, 1664525) + 1013904223) >>> 0;
    return at / 2 ** 32;
  };
}

const isData = ({ op }: Operation): boolean => op === 'write';
const isName = ({ op }: Operation): boolean => !['write', 'size', 'mode'].includes(op);
const SECTOR = 512;
/** SQLite's memory that several processes have in common: nothing is read of it after a crash. */
const SHARED_MEMORY = /-shm$/;

/** One after the other: the disk is only valid until the next one. */
export function* crashStates(log: readonly Operation[], options: StateOptions): Generator<State> {
  const durable = durableAt(log);
  const base = new Disk();
  let settled = 0;
  const shared = new Set(log.flatMap((op) => (op.op === 'create' && SHARED_MEMORY.test(op.name) ? [op.id] : [])));
  for (let prefix = 0; prefix <= log.length; prefix++) {
    while (settled < prefix && durable[settled] < prefix) base.apply(log[settled], settled++, 'kept');
    if (prefix < (options.from ?? 0) || prefix > (options.to ?? Infinity)) continue;
    const last = log[prefix - 1] as Operation | undefined;
    if (last !== undefined && ['write', 'size'].includes(last.op) && 'id' in last && shared.has(last.id)) continue;
    const open: number[] = [];
    for (let i = settled; i < prefix; i++) {
      if (durable[i] >= prefix && !['mark', 'sync', 'sync-begin', 'sync-end'].includes(log[i].op)) open.push(i);
    }
    const state = (what: string, fate: (op: Operation, index: number) => Fate): State => {
      const disk = new Disk(base);
      for (let i = settled; i < prefix; i++) {
        disk.apply(log[i], i, durable[i] < prefix ? 'kept' : fate(log[i], i));
      }
      return { prefix, what, disk };
    };
    yield state('all kept', () => 'kept');
    if (open.length === 0) continue;
    yield state('all lost', () => 'lost');
    yield state('data lost', (op) => (isData(op) ? 'lost' : 'kept'));
    yield state('data zeroed', (op) => (isData(op) ? 'zeroed' : 'kept'));
    yield state('names lost', (op) => (isName(op) ? 'lost' : 'kept'));
    const next = log[prefix]?.op ?? 'mark';
    if (['sync', 'sync-end', 'mark'].includes(next)) {
      for (const one of open) {
        if ((one + prefix) % options.stride !== 0) continue;
        const what = `${one} (${log[one].op})`;
        yield state(`${what} lost`, (_, i) => (i === one ? 'lost' : 'kept'));
        yield state(`all but ${what} lost`, (_, i) => (i === one ? 'kept' : 'lost'));
        if (isData(log[one])) yield state(`${what} zeroed`, (_, i) => (i === one ? 'zeroed' : 'kept'));
      }
    }
    for (let n = 0; n < options.samples; n++) {
      const seed = options.seed + prefix * 1000 + n;
      yield n % 2 === 0
        ? state(`random ${seed}`, anything(random(seed)))
        : state(`cut ${seed}`, cut(random(seed), open));
    }
  }
}

/** Each operation by itself. */
function anything(next: () => number): (op: Operation) => Fate {
  const loss = [0.1, 0.5, 0.9][Math.floor(next() * 3)];
  return (op) => (next() >= loss ? 'kept' : isData(op) ? badWrite(op, next) : 'lost');
}

function badWrite(op: Operation, next: () => number): Fate {
  const length = op.op === 'write' ? op.data.length : 0;
  const kind = Math.floor(next() * 3);
  if (kind === 2 && length > SECTOR) return { torn: Math.floor((next() * length) / SECTOR) * SECTOR };
  return kind === 0 ? 'lost' : 'zeroed';
}

/** Each folder keeps its first so many changes in their order; so do the data, on their own. */
function cut(next: () => number, open: readonly number[]): (op: Operation, index: number) => Fate {
  const cuts = new Map<number, number>();
  const end = (folder: number): number => {
    let at = cuts.get(folder);
    if (at === undefined) cuts.set(folder, (at = open[Math.floor(next() * open.length)] + Math.round(next())));
    return at;
  };
  return (op, index) => {
    if (op.op === 'write') return index < end(-1) ? 'kept' : badWrite(op, next);
    if (op.op === 'size' || op.op === 'mode') return index < end(-2) ? 'kept' : 'lost';
    const folders = 'toParent' in op ? [op.parent, op.toParent] : 'parent' in op ? [op.parent] : [];
    return folders.every((folder) => index < end(folder)) ? 'kept' : 'lost';
  };
}
