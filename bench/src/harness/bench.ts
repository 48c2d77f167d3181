/** What a benchmark is, and what it is given. */
import { Data } from '../data/data.js';
import { openArea, type Area } from './area.js';
import type { Figure, Kind, Place } from './figure.js';
import type { Note } from './note.js';
import { has, missing } from './programs.js';
import { turn } from './release.js';

/** Something that can be asked for by name. */
export interface Benchmark {
  readonly name: string;
  /** What it does, in one line. */
  readonly about: string;
  /** Left out without these rights. */
  readonly needsRoot: boolean;
  run(bench: Bench): Promise<void>;
}

/** What is measured: in turn with the others, A B A B, never all rounds of one after the other. */
export interface Subject {
  readonly name: string;
  readonly kind: Kind;
  /** Gets fewer rounds when they take long, as peers do. */
  readonly spare?: boolean;
  /** One round: milliseconds, or whatever the unit is. */
  readonly run: () => Promise<number> | number;
}

/** Milliseconds, its preparations included, after which a peer gets no more rounds of one thing that is done. */
const PATIENCE = 4000;
/** Milliseconds after which no further round of one thing is begun, unless the user said how many there are to be. */
const BUDGET = 20_000;
/** So many rounds there are all the same: one alone has no spread. */
const LEAST = 2;

/** What does several things in each round, one after the other. */
export interface Series extends Omit<Subject, 'run'> {
  /** One round: calls `keep` once for each title, in order. */
  readonly run: (keep: (value: number) => void) => Promise<void> | void;
}

/** How a comparison is run. */
export interface Rounds {
  readonly rounds: number;
  readonly unit?: string;
  readonly at?: Place;
  /** They differ by less than the machine scatters: all of them get all rounds, however long that takes. */
  readonly close?: boolean;
}

/** What was asked for on the command line. */
export interface Settings {
  /** Small data, few rounds: does it work at all. */
  readonly quick: boolean;
  /** The largest data: what takes more than an hour. */
  readonly full: boolean;
  /** A folder that gets the profiles of our servers. */
  readonly profiles?: string;
  /** In place of the benchmark's own number. */
  readonly rounds?: number;
}

/** Gathers the figures of one benchmark. */
export class Bench {
  readonly #name: string;
  readonly #settings: Settings;
  readonly figures: Figure[] = [];
  readonly notes: Note[] = [];
  /** Prepared once for all benchmarks of the run. */
  readonly data: Data;

  constructor(name: string, settings: Settings, data: Data) {
    this.#name = name;
    this.#settings = settings;
    this.data = data;
  }

  get quick(): boolean {
    return this.#settings.quick;
  }

  get profiles(): string | undefined {
    return this.#settings.profiles;
  }

  get full(): boolean {
    return this.#settings.full;
  }

  /** How many rounds to run: the user's number, or one of these. */
  rounds(full: number, quick = 1): number {
    return this.#settings.rounds ?? (this.quick ? quick : full);
  }

  /** Says a line of progress, or what is left out and why. */
  say(text: string): void {
    console.log(`${this.#name}: ${text}`);
  }

  /** Whether a program is there; says once which package brings it when not. */
  has(program: string): boolean {
    if (has(program)) return true;
    if (!reported.has(program)) this.say(missing(program));
    reported.add(program);
    return false;
  }

  /** An empty filesystem of its own; released after the benchmark, whatever happens. */
  area(gigabytes: number): Area {
    return openArea(gigabytes);
  }

  /** Says something that belongs to a table, and keeps it beside the figures: who is missing in it, and why. */
  note(title: string, text: string): void {
    this.say(`${title}: ${text}`);
    this.notes.push({ benchmark: this.#name, title, text });
  }

  /**
   * Runs all subjects `rounds` times, in turn, each round in another order, and keeps the figures. A peer that fails is
   * left out; one that takes long gets no more rounds.
   * @throws what one of ours throws
   */
  async compare(title: string, subjects: readonly Subject[], options: Rounds): Promise<void> {
    const series = subjects.map(({ run, ...who }) => ({
      ...who,
      run: async (keep: (value: number) => void): Promise<void> => keep(await run()),
    }));
    await this.compareSeries([title], series, options);
  }

  /** The same of several things that are done one after the other in each round: what is mounted once is used for all of them. */
  async compareSeries(titles: readonly string[], subjects: readonly Series[], options: Rounds): Promise<void> {
    const started = performance.now();
    const taken = subjects.map((subject) => ({
      subject,
      values: titles.map((): number[] => []),
      spent: 0,
      ended: false,
    }));
    const patient = this.full || options.close === true;
    const budget = patient || this.#settings.rounds !== undefined ? Number.POSITIVE_INFINITY : BUDGET * titles.length;
    for (let round = 0; round < options.rounds; round++) {
      if (round >= LEAST && performance.now() - started > budget) {
        for (const title of titles) this.note(title, `${round} of ${options.rounds} rounds, as they take long`);
        break;
      }
      for (const each of shuffled(taken, round).filter(({ ended }) => !ended)) {
        const { subject, values } = each;
        await turn();
        const before = performance.now();
        let step = 0;
        try {
          await subject.run((value) => values[step++].push(value));
        } catch (error) {
          // What others cannot do is told, and does not keep us from measuring the rest.
          if (subject.kind !== 'peer') throw error;
          for (const title of titles.slice(step)) {
            this.note(title, `without ${subject.name}, which failed: ${firstLine(error as Error)}`);
          }
          for (const gone of each.values.slice(step)) gone.length = 0;
          each.ended = true;
        }
        each.spent += performance.now() - before;
        const spare = subject.kind === 'peer' || subject.spare === true;
        if (!spare || patient || each.ended || each.spent < PATIENCE * titles.length || round + 1 >= options.rounds) {
          continue;
        }
        const what = `${subject.name} takes long: ${round + 1} of ${options.rounds} rounds`;
        for (const title of titles) this.note(title, what);
        each.ended = true;
      }
    }
    for (const [step, title] of titles.entries()) {
      for (const { subject, values } of taken.filter((each) => each.values[step].length > 0)) {
        const { name, kind } = subject;
        this.add(title, { subject: name, kind, unit: options.unit ?? 'ms', values: values[step], at: options.at });
      }
    }
    const seconds = (millis: number): string => (millis / 1000).toFixed(0);
    const long = taken.filter(({ spent }) => spent >= 1000);
    const each = long.map(({ subject, spent }) => `${subject.name} ${seconds(spent)}`).join(', ');
    const of = each === '' ? '' : ` (${each})`;
    this.say(`${titles.join('; ')}: ${seconds(performance.now() - started)} s${of}`);
  }

  /** Keeps a figure that was measured otherwise. */
  add(
    title: string,
    figure: Pick<Figure, 'subject' | 'kind' | 'unit' | 'values'> & { readonly at?: Place | undefined },
  ): void {
    const { at, ...rest } = figure;
    this.figures.push({ benchmark: this.#name, title, ...rest, ...(at === undefined ? {} : { at }) });
  }

  /** Keeps a figure that was taken once. */
  once(title: string, subject: string, kind: Kind, unit: string, value: number): void {
    this.add(title, { subject, kind, unit, values: [value] });
  }
}

/**
 * Another order for each round but the first, the same in each run: what ran just before changes what is measured next, as for
 * first reads of a large file.
 */
function shuffled<T>(items: readonly T[], round: number): T[] {
  if (round === 0) return [...items];
  const rest = [...items];
  const order: T[] = [];
  let seed = round;
  while (rest.length > 0) {
    // The generator of Park and Miller; a few steps between numbers, as its seeds are close together.
    for (let i = 0; i < 4; i++) seed = (seed * 48_271) % 0x7fff_ffff;
    order.push(...rest.splice(Math.floor((seed / 0x7fff_ffff) * rest.length), 1));
  }
  return order;
}

/** Without the folder that a run made for itself. */
function firstLine({ message }: Error): string {
  const line = message.trim().split('\n', 1)[0];
  return line.replaceAll(/\/[^\s:]*\/layerfs-bench-[^\s:]*\//g, '').slice(0, 200);
}

const reported = new Set<string>();

/** Opens an area, and releases it in the end. */
export async function inArea(bench: Bench, gigabytes: number, action: (area: Area) => Promise<void>): Promise<void> {
  const area = bench.area(gigabytes);
  try {
    await action(area);
  } finally {
    area.release();
  }
}
