/** Makes layers again from their tars, and puts in place what of them was damaged or missing, and nothing else. */
import { existsSync, mkdirSync, renameSync, rmSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { digestHex, type DiffID } from '../../../core/digest.js';
import { LayerfsError } from '../../../core/error.js';
import { unpackLayer, type LargeObjectSink, type ObjectSink, type UnpackedLayer } from '../../layer-unpack.js';
import { ingestPlace, writeObject } from '../../object-file.js';
import { LargeObject } from '../../objects.js';
import type { TarSource } from './sources.js';
import type { RepairWork } from './work.js';

/** What is to be put in place of one layer. */
export interface WantedParts {
  /** Names of files in the layer's folder. */
  readonly files: readonly string[];
  /** Objects, by their 64 hex digits, of this layer or not. */
  readonly objects: ReadonlySet<string>;
}

/**
 * Makes a layer from the first source that gives it.
 * @returns the objects that were put in place; undefined when no source has the layer
 */
export async function remakeLayer(
  work: RepairWork,
  diffID: DiffID,
  sources: readonly TarSource[],
  wanted: WantedParts,
): Promise<readonly string[] | undefined> {
  for (const source of sources) {
    work.tell(`layer ${digestHex(diffID).slice(0, 12)}`);
    const folder = join(work.folder, 'layer');
    mkdirSync(folder, { mode: 0o700 });
    try {
      const sink = new WantedObjects(join(work.folder, 'wanted'), wanted.objects);
      const made = await tryUnpack(work, source, folder, sink);
      if (made?.diffID !== diffID) continue;
      const { size, contentSize, entries, objects } = made;
      work.state.facts.layers.set(diffID, { size, contentSize, entries, objects: objects.count });
      putInPlace(work, diffID, folder, wanted.files, sink.written, source.what);
      return sink.written;
    } finally {
      rmSync(folder, { recursive: true, force: true });
      rmSync(join(work.folder, 'wanted'), { recursive: true, force: true });
    }
  }
  return undefined;
}

async function tryUnpack(
  { state, options }: RepairWork,
  source: TarSource,
  folder: string,
  sink: WantedObjects,
): Promise<UnpackedLayer | undefined> {
  try {
    return await source.read((tar) =>
      unpackLayer(tar, folder, sink, state.xxhash, {
        maxSize: Number.MAX_SAFE_INTEGER,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      }),
    );
  } catch (error) {
    if (!(error instanceof LayerfsError) || error.code === 'aborted' || error.code === 'resource-exhausted')
      throw error;
    // This one is damaged as well: the next one may do.
    return undefined;
  }
}

function putInPlace(
  work: RepairWork,
  diffID: DiffID,
  folder: string,
  files: readonly string[],
  objects: readonly string[],
  what: string,
): void {
  const { paths } = work.state;
  work.sync();
  for (const hex of objects) {
    replaceFile(work, ingestPlace(join(work.folder, 'wanted'), hex), `objects/${hex.slice(0, 2)}/${hex.slice(2)}`);
    work.done(`objects/${hex.slice(0, 2)}/${hex.slice(2)}`, `made again from ${what}`);
  }
  const place = `layers/${digestHex(diffID)}`;
  if (files.length > 0) mkdirSync(paths.layer(diffID), { recursive: true, mode: 0o700 });
  for (const name of files) {
    replaceFile(work, join(folder, name), `${place}/${name}`);
    work.done(`${place}/${name}`, `made again from ${what}`);
  }
  if (files.length > 0) work.done(place, `made again from ${what}`);
  work.sync();
}

/**
 * Puts a file in the place of another one in one step; that one goes to quarantine. Whoever has it open, a mount for
 * example, goes on with it.
 * @param path below the store's folder
 */
export function replaceFile(work: RepairWork, from: string, path: string): void {
  const to = join(work.state.paths.root, path);
  work.quarantine.keep(path);
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  renameSync(from, to);
}

/** Keeps only those objects that are wanted; all are hashed. */
class WantedObjects implements ObjectSink {
  readonly written: string[] = [];
  readonly #folder: string;
  readonly #wanted: ReadonlySet<string>;
  #large = 0;

  constructor(folder: string, wanted: ReadonlySet<string>) {
    this.#folder = folder;
    this.#wanted = wanted;
    mkdirSync(folder, { mode: 0o700 });
  }

  add(hex: string, bytes: Uint8Array): void {
    // The store's own must not count as there: it is the damaged one.
    if (this.#wanted.has(hex) && writeObject(this.#folder, join(this.#folder, 'none'), hex, bytes))
      this.written.push(hex);
  }

  create(): LargeObjectSink {
    return new LargeObject(join(this.#folder, `large-${this.#large++}`), (path, hex) => {
      const place = ingestPlace(this.#folder, hex);
      if (!this.#wanted.has(hex) || existsSync(place)) return unlinkSync(path);
      mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
      renameSync(path, place);
      this.written.push(hex);
    });
  }

  drain(): Promise<void> {
    return Promise.resolve();
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }
}
