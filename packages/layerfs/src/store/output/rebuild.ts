/** Gives back a layer's tar, bit for bit, from its tar record and the objects. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { digestFromBytes, type DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import { checkAborted, isErrno } from '../errors.js';
import { ObjectList } from '../object-list.js';
import { readRecordFile } from '../record-file.js';
import { readAt } from '../snapshot/read-at.js';

const CHUNK = 256 * 1024;

/**
 * The bytes of a layer's tar. Verified as they go: the last chunk is followed by an error unless all of them together
 * have the diffID.
 * @throws LayerfsError corrupt naming the layer and the object
 */
export async function* rebuildTar(
  { paths, xxhash }: Pick<StoreContext, 'paths' | 'xxhash'>,
  diffID: DiffID,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const folder = paths.layer(diffID);
  const list = ObjectList.read(join(folder, 'objects'), xxhash);
  const hash = createHash('sha256');
  let parts: Uint8Array[] = [];
  let length = 0;
  for await (const step of readRecordFile(join(folder, 'tar'), xxhash)) {
    checkAborted(signal);
    if (step.kind === 'literal') {
      // Valid until the next step is asked for.
      const bytes = Uint8Array.from(step.bytes);
      hash.update(bytes);
      parts.push(bytes);
      length += bytes.length;
    } else {
      if (step.index >= list.count)
        throw new LayerfsError('corrupt', `tar record of layer ${diffID} names object ${step.index} of ${list.count}`);
      for await (const bytes of objectRange(paths.object(list.hex(step.index)), step.offset, step.length, diffID)) {
        hash.update(bytes);
        parts.push(bytes);
        length += bytes.length;
        if (length < CHUNK) continue;
        yield joined(parts);
        parts = [];
        length = 0;
      }
    }
    if (length < CHUNK) continue;
    yield joined(parts);
    parts = [];
    length = 0;
  }
  if (length > 0) yield joined(parts);
  const found = digestFromBytes(hash.digest());
  if (found !== diffID) {
    throw new LayerfsError('corrupt', `layer ${diffID} is damaged: what is stored of it has digest ${found}`);
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? parts[0] : Buffer.concat(parts);
}

async function* objectRange(path: string, offset: number, length: number, diffID: DiffID): AsyncGenerator<Uint8Array> {
  const fd = openObject(path, diffID);
  try {
    for (let done = 0; done < length;) {
      const buffer = Buffer.allocUnsafe(Math.min(CHUNK, length - done));
      const at = offset + done;
      // Another thread is worth its while for large files only: layers have very many small ones.
      const n = length > CHUNK ? await readAt(fd, buffer, at) : readSync(fd, buffer, 0, buffer.length, at);
      if (n === 0) throw new LayerfsError('corrupt', `layer ${diffID} is damaged: object ${path} is too short`);
      done += n;
      yield buffer.subarray(0, n);
    }
  } finally {
    closeSync(fd);
  }
}

function openObject(path: string, diffID: DiffID): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    throw new LayerfsError('corrupt', `layer ${diffID} is damaged: object ${path} is missing`, { cause: error });
  }
}
