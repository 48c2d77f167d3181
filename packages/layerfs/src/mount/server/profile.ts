import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { ServedRequest } from '@layerfs/fuse';

/** What requests of one opcode took. Times in microseconds, from reading the request to the written answer. */
export interface OpcodeProfile {
  readonly count: number;
  /** Answered with an error. */
  readonly errors: number;
  /** Of all answers. */
  readonly bytes: number;
  readonly mean: number;
  readonly minimum: number;
  readonly maximum: number;
  /** By percentile: `50`, `90`, `99`, `99.9`. */
  readonly percentiles: Readonly<Record<string, number>>;
}

const PERCENTILES = [50, 90, 99, 99.9];
/** Three digits of each time are kept, up to a minute: a few kilobytes an opcode, however many requests there are. */
const HISTOGRAM = { lowest: 1, highest: 60_000_000_000, figures: 3 };

interface Counted {
  readonly nanos: RecordableHistogram;
  errors: number;
  bytes: number;
}

/**
 * The files of `--profile`: `FILE` gets counts and a latency histogram for each opcode, as JSON (`{"opcodes": {"LOOKUP": OpcodeProfile}}`),
 * `FILE.cpuprofile` where the serving thread spent its time, in the format of Chrome's and VS Code's profile views. Both are written
 * when the mount ends. Loaded only when asked for.
 */
export class RequestProfile {
  readonly #file: string;
  readonly #opcodes = new Map<string, Counted>();
  readonly #session = new Session();

  /** Starts to sample this thread. @throws Error of node:fs when the file cannot be written */
  constructor(file: string) {
    this.#file = file;
    // A wrong path is to be said now, not in the end.
    writeFileSync(file, '{}\n', { mode: 0o640 });
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.setSamplingInterval', { interval: 200 });
    this.#session.post('Profiler.start');
  }

  /** Counts a request; for {@link ConnectionHooks.onRequest}. */
  readonly record = ({ opcode, micros, errno, bytes }: ServedRequest): void => {
    let counted = this.#opcodes.get(opcode);
    if (counted === undefined) {
      counted = { nanos: createHistogram(HISTOGRAM), errors: 0, bytes: 0 };
      this.#opcodes.set(opcode, counted);
    }
    counted.nanos.record(Math.min(HISTOGRAM.highest, Math.max(1, Math.round(micros * 1000))));
    counted.bytes += bytes;
    if (errno !== 0) counted.errors++;
  };

  /** Writes both files. */
  close(): void {
    const opcodes = Object.fromEntries([...this.#opcodes].map(([opcode, counted]) => [opcode, profileOf(counted)]));
    writeFileSync(this.#file, `${JSON.stringify({ opcodes }, undefined, 2)}\n`);
    // In one thread the answer comes before post returns.
    this.#session.post('Profiler.stop', (error, result) => {
      if (error === null) writeFileSync(`${this.#file}.cpuprofile`, JSON.stringify(result.profile), { mode: 0o640 });
    });
    this.#session.disconnect();
  }
}

function profileOf({ nanos, errors, bytes }: Counted): OpcodeProfile {
  const micros = (value: number): number => Math.round(value) / 1000;
  return {
    count: nanos.count,
    errors,
    bytes,
    mean: micros(nanos.mean),
    minimum: micros(nanos.min),
    maximum: micros(nanos.max),
    percentiles: Object.fromEntries(PERCENTILES.map((each) => [String(each), micros(nanos.percentile(each))])),
  };
}
