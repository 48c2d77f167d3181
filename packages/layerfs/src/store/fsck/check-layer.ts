/** A layer: that its files are what the tar is which they give back, and that this tar has the diffID. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { digestBytes, digestHex, type DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import { isErrno } from '../errors.js';
import {
  deriveLayer,
  type DerivedLayer,
  type LargeObjectSink,
  type LayerTar,
  type ObjectSink,
} from '../layer-unpack.js';
import { HOLE, ZEROS } from '../object-file.js';
import { ObjectList } from '../object-list.js';
import { rebuildTar } from '../output/rebuild.js';
import { readRecordFile } from '../record-file.js';
import { openTree } from '../trees.js';
import { hashFile } from './check-objects.js';
import { checkFile, PRIVATE_FOLDER, SEALED_MODE } from './file-claims.js';
import type { JobContext, JobResult } from './jobs.js';
import type { Finding } from './problem.js';

/** Files that every layer has. */
export const LAYER_FILES = ['tree', 'tar', 'objects'] as const;

/**
 * Checks a layer's folder. Missing files are not told here, but by whoever knows what must be there.
 * @param onBytes also called where nothing was read, since it may throw to end the check
 */
export async function checkLayer(
  context: Pick<StoreContext, 'paths' | 'xxhash'>,
  { root, uid }: JobContext,
  diffID: DiffID,
  onBytes: (bytes: number) => void,
): Promise<JobResult> {
  const findings: Finding[] = [];
  const folder = `layers/${digestHex(diffID)}`;
  if (checkFile(root, folder, { ...PRIVATE_FOLDER, uid }, findings) === undefined) return { findings, items: 0 };
  const names = new Set(readdirSync(join(root, folder)));
  for (const name of names) {
    if ((LAYER_FILES as readonly string[]).includes(name)) {
      const path = `${folder}/${name}`;
      // A link or a folder is not read at all.
      if (checkFile(root, path, { ...SEALED_MODE, uid }, findings) === undefined) names.delete(name);
    } else {
      findings.push({
        kind: 'foreign-file',
        path: `${folder}/${name}`,
        expected: 'a file of a layer',
        found: 'another name',
      });
    }
  }
  const damaged = (name: string, expected: string, found: string): void => {
    findings.push({ kind: 'layer-file-damaged', path: `${folder}/${name}`, expected, found });
  };
  if (names.has('tree'))
    attempt(
      () => openTree(join(root, folder, 'tree'), context.xxhash).unmap(),
      (error) => damaged('tree', 'a sound tree', error),
    );
  let list: ObjectList | undefined;
  if (names.has('objects')) {
    const path = join(root, folder, 'objects');
    attempt(
      () => (list = ObjectList.read(path, context.xxhash)),
      (error) => damaged('objects', 'a sound object list', error),
    );
  }
  if (!names.has('tar')) return { findings, items: 1 };
  let record: string | undefined;
  try {
    record = await recordProblem(context, diffID, onBytes);
  } catch (error) {
    // Removed meanwhile, by somebody who may.
    if (isErrno(error, 'ENOENT')) return { findings, items: 1 };
    throw error;
  }
  if (record !== undefined) damaged('tar', 'a sound tar record', record);
  if (record !== undefined || list === undefined) return { findings, items: 1 };
  const derived = await derive(context, diffID, onBytes);
  if (typeof derived === 'string') {
    // Damaged objects explain it, and are told for themselves.
    if (objectsSound(root, list, onBytes)) {
      findings.push({ kind: 'layer-mismatch', path: folder, expected: `a tar with digest ${diffID}`, found: derived });
    }
    return { findings, items: 1 };
  }
  // A sound file of its own, but of another layer, or of another time.
  if (names.has('tree') && !sameBytes(join(root, folder, 'tree'), derived.tree)) {
    if (!findings.some(({ path }) => path === `${folder}/tree`))
      damaged('tree', "what the layer's tar gives", 'another tree');
  }
  if (!list.equals(derived.objects)) damaged('objects', "what the layer's tar gives", 'another list');
  const { size, contentSize, entries, objects } = derived;
  return { findings, items: 1, layer: { size, contentSize, entries, objects: objects.count } };
}

/** What a layer is by its tar, as given back from tar record and objects; or in words why that does not have its diffID. */
async function derive(
  context: Pick<StoreContext, 'paths' | 'xxhash'>,
  diffID: DiffID,
  onBytes: (bytes: number) => void,
): Promise<DerivedLayer | string> {
  try {
    const nowhere = { writer: { literal: () => undefined, object: () => undefined }, drain: () => Promise.resolve() };
    return await deriveLayer(storedTar(context, diffID, onBytes), nowhere, new Discard(onBytes), context.xxhash, {
      maxSize: Number.MAX_SAFE_INTEGER,
    });
  } catch (error) {
    if (error instanceof LayerfsError) return error.message;
    if (isErrno(error, 'EIO', 'EACCES', 'ELOOP', 'EISDIR', 'EUCLEAN')) return (error as Error).message;
    throw error;
  }
}

/** A layer's tar as the store gives it back; whoever reads it to its end knows that it has the diffID. */
export function storedTar(
  context: Pick<StoreContext, 'paths' | 'xxhash'>,
  diffID: DiffID,
  onBytes: (bytes: number) => void,
): LayerTar {
  return {
    async *[Symbol.asyncIterator]() {
      for await (const chunk of rebuildTar(context, diffID)) {
        onBytes(chunk.length);
        yield chunk;
      }
    },
    digest: () => digestBytes(diffID),
  };
}

async function recordProblem(
  { paths, xxhash }: Pick<StoreContext, 'paths' | 'xxhash'>,
  diffID: DiffID,
  onBytes: (bytes: number) => void,
): Promise<string | undefined> {
  try {
    for await (const _ of readRecordFile(join(paths.layer(diffID), 'tar'), xxhash)) onBytes(0);
    return undefined;
  } catch (error) {
    if (error instanceof LayerfsError || isErrno(error, 'EIO', 'EUCLEAN', 'EACCES')) return (error as Error).message;
    throw error;
  }
}

function objectsSound(root: string, list: ObjectList, onBytes: (bytes: number) => void): boolean {
  for (let i = 0; i < list.count; i++) {
    const hex = list.hex(i);
    try {
      if (hashFile(join(root, 'objects', hex.slice(0, 2), hex.slice(2)), () => onBytes(0)).hex !== hex) return false;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      return false;
    }
  }
  return true;
}

function attempt(action: () => void, problem: (text: string) => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof LayerfsError) && !isErrno(error, 'EIO', 'EACCES', 'EUCLEAN')) throw error;
    problem((error as Error).message);
  }
}

function sameBytes(path: string, bytes: Uint8Array): boolean {
  return readFileSync(path).equals(bytes);
}

/** Content that nobody needs: only its digest is of interest. */
class Discard implements ObjectSink {
  readonly #onBytes: (bytes: number) => void;

  constructor(onBytes: (bytes: number) => void) {
    this.#onBytes = onBytes;
  }

  add(): void {
    // Its name is its digest, which was made of the bytes just now.
  }

  create(): LargeObjectSink {
    const onBytes = this.#onBytes;
    const hash = createHash('sha256');
    let size = 0;
    return {
      get size() {
        return size;
      },
      write(bytes) {
        hash.update(bytes);
        size += bytes.length;
      },
      hole(length) {
        for (let left = length; left > 0; left -= HOLE) {
          hash.update(left >= HOLE ? ZEROS : ZEROS.subarray(0, left));
          onBytes(0);
        }
        size += length;
      },
      finish: () => hash.digest(),
      abort: () => undefined,
    };
  }

  drain(): Promise<void> {
    return Promise.resolve();
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }
}
