/** What a benchmark is, and what it is given. */
import { Data } from '../data/data.js';
import { openArea, type Area } from './area.js';
import type { Figure, Kind, Place } from './figure.js';
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
  /** One round: milliseconds, or whatever the unit is. */
  readonly run: () => Promise<number> | number;
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
  rounds(full: number, quick = 2): number {
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

  /** Runs all subjects `rounds` times, in turn, and keeps the figures. A peer that fails is left out. @throws what one of ours throws */
  async compare(
    title: string,
    subjects: readonly Subject[],
    options: { readonly rounds: number; readonly unit?: string; readonly at?: Place },
  ): Promise<void> {
    const values = subjects.map((): number[] => []);
    const unable = new Set<Subject>();
    for (let round = 0; round < options.rounds; round++) {
      for (const [i, subject] of subjects.entries()) {
        await turn();
        if (unable.has(subject)) continue;
        try {
          values[i].push(await subject.run());
        } catch (error) {
          // What others cannot do is told, and does not keep us from measuring the rest.
          if (subject.kind !== 'peer') throw error;
          this.say(`${title}: without ${subject.name}, which failed: ${(error as Error).message}`);
          unable.add(subject);
        }
      }
    }
    for (const [i, subject] of subjects.entries()) {
      if (unable.has(subject)) continue;
      const { name, kind } = subject;
      this.add(title, { subject: name, kind, unit: options.unit ?? 'ms', values: values[i], at: options.at });
    }
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
