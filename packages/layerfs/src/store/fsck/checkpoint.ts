/** Where an interrupted check goes on: ROOT/fsck/checkpoint.json, see docs/store.md. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDigest, type DiffID } from '../../core/digest.js';
import { isErrno } from '../errors.js';
import type { Facts } from './state.js';
import { jobName, type Job, type JobResult } from './jobs.js';
import { FORMS, parseJson } from './record-forms.js';

/** format: do not change without a new number. */
const FORMAT = 1;
/** Milliseconds between two versions of the file. */
const INTERVAL = 2000;

/** What was found sound so far. Whatever had a problem is looked at again. */
export class Checkpoint {
  readonly #folder: string;
  readonly #done: Set<string>;
  readonly facts: Facts;
  /** When the check was begun, ISO 8601. */
  readonly begun: string;
  /** Whether this is the rest of an earlier one. */
  readonly resumed: boolean;
  #written = Date.now();

  private constructor(folder: string, begun: string, resumed: boolean, done: Set<string>, facts: Facts) {
    this.#folder = folder;
    this.begun = begun;
    this.resumed = resumed;
    this.#done = done;
    this.facts = facts;
  }

  /** @param folder ROOT/fsck, which exists. A checkpoint that cannot be read counts as none. */
  static open(folder: string, afresh: boolean): Checkpoint {
    const facts: Facts = { layers: new Map(), blobs: new Map() };
    const saved = afresh ? undefined : read(folder);
    if (saved === undefined) return new Checkpoint(folder, new Date().toISOString(), false, new Set(), facts);
    for (const [diffID, value] of Object.entries(saved.layers)) {
      const fact = FORMS.layers(value);
      if (isDigest(diffID) && fact !== undefined) facts.layers.set(diffID as DiffID, fact);
    }
    for (const [digest, value] of Object.entries(saved.blobs)) {
      if (!isTable(value)) continue;
      const { size, diffID } = value;
      if (!isDigest(digest) || !Number.isSafeInteger(size)) continue;
      const holds = typeof diffID === 'string' && isDigest(diffID) ? { diffID: diffID as DiffID } : {};
      facts.blobs.set(digest, { size: size as number, ...holds });
    }
    return new Checkpoint(folder, saved.begun, true, new Set(saved.done), facts);
  }

  has(job: Job): boolean {
    return this.#done.has(jobName(job));
  }

  /** A job has ended. */
  add(job: Job, { findings, layer, blob }: JobResult): void {
    if (job.kind === 'layer' && layer !== undefined) this.facts.layers.set(job.diffID, layer);
    if (job.kind === 'blob' && blob !== undefined) this.facts.blobs.set(job.digest, blob);
    if (findings.length > 0) return;
    this.#done.add(jobName(job));
    if (Date.now() - this.#written > INTERVAL) this.save();
  }

  save(): void {
    const { layers, blobs } = this.facts;
    const text = JSON.stringify({
      format: FORMAT,
      begun: this.begun,
      done: [...this.#done],
      layers: Object.fromEntries(layers),
      blobs: Object.fromEntries(blobs),
    });
    const temporary = join(this.#folder, 'checkpoint.tmp');
    writeFileSync(temporary, `${text}\n`, { mode: 0o600 });
    renameSync(temporary, join(this.#folder, 'checkpoint.json'));
    this.#written = Date.now();
  }

  /** The check is complete. */
  remove(): void {
    rmSync(join(this.#folder, 'checkpoint.json'), { force: true });
  }
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

interface Saved {
  readonly begun: string;
  readonly done: readonly string[];
  readonly layers: Readonly<Record<string, unknown>>;
  readonly blobs: Readonly<Record<string, unknown>>;
}

function read(folder: string): Saved | undefined {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  let text: string;
  try {
    text = readFileSync(join(folder, 'checkpoint.json'), 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  const value = parseJson(text) as Partial<Saved & { format: number }> | null | undefined;
  if (value?.format !== FORMAT || typeof value.begun !== 'string' || !Array.isArray(value.done)) return undefined;
  if (!isTable(value.layers) || !isTable(value.blobs)) return undefined;
  return { begun: value.begun, done: value.done.map(String), layers: value.layers, blobs: value.blobs };
}
