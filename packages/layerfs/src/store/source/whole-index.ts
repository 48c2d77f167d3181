/** An index as a whole: what has to be kept of it besides its images, so that it can be pushed as it is. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestFromBytes, digestHex, type Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import { readBundle } from '../../core/oci/bundle.js';
import type { Descriptor } from '../../core/oci/descriptor.js';
import type { RegistryReference } from '../../registry/address.js';
import type { Registry } from '../../registry/registry.js';
import type { StoreContext } from '../context.js';
import { candidatesOf, type Documents } from './choose.js';
import type { SourceIndex } from './source.js';

/** Most bytes of a blob of what is no image, such as an attestation: whoever checks or repairs it has it in memory. */
export const MOST_BESIDE = 64 << 20;
/** Of all those of an index. */
const MOST_TOGETHER = 512 << 20;

/** Puts a blob into a file, verified. */
type Keep = (blob: Descriptor) => Promise<string>;

/**
 * Indexes, and all of what is no image, such as attestations. Where that cannot be, the images come without it, and a note.
 * @param name what the image of it that is for this machine is called
 */
export async function wholeIndex(
  documents: Documents,
  root: Descriptor,
  label: string,
  { name, notes, keep }: { name: string; notes: string[]; keep: Keep },
): Promise<SourceIndex | undefined> {
  try {
    const bundle = await readBundle(root, label, (descriptor, referrer) => documents.read(descriptor, referrer));
    const images = new Set((await candidatesOf(documents, [root], label)).map(({ descriptor }) => descriptor.digest));
    const kept: SourceIndex['documents'][number][] = [];
    const blobs = new Map<Digest, Descriptor>();
    for (const document of bundle.toReversed()) {
      const { digest } = document.descriptor;
      if (images.has(digest)) continue;
      kept.push({ ...document.descriptor, bytes: document.bytes });
      for (const blob of document.blobs) blobs.set(blob.digest, blob);
    }
    // Before any of it comes over the network.
    let total = 0;
    for (const { digest, size } of blobs.values()) {
      total += size;
      if (size <= MOST_BESIDE && total <= MOST_TOGETHER) continue;
      throw new LayerfsError(
        'resource-exhausted',
        `what is no image in it has ${digest} of ${size} bytes; more than ${MOST_BESIDE}, or ${MOST_TOGETHER} together, are not kept`,
      );
    }
    for (const blob of blobs.values()) kept.push({ ...blob, file: await keep(blob) });
    return { name, documents: kept };
  } catch (error) {
    if (!(error instanceof LayerfsError) || !LEFT_OUT.has(error.code)) throw error;
    notes.push(`the index itself is not kept, only its images: ${error.message}`);
    return undefined;
  }
}

const LEFT_OUT: ReadonlySet<string> = new Set(['unimplemented', 'resource-exhausted', 'not-found']);

/** Takes blobs from the store where they are sound there, and else over the network. @param folder gets the files */
export function keeping(
  { paths }: StoreContext,
  registry: Registry,
  { host, repository }: RegistryReference,
  { folder, signal }: { readonly folder: string; readonly signal?: AbortSignal | undefined },
): Keep {
  return async (blob) => {
    const file = join(folder, `document-${digestHex(blob.digest)}`);
    try {
      if ((await write(file, stored(paths.blob(blob.digest)))) === blob.digest) return file;
    } catch (error) {
      if (signal?.aborted === true) throw new LayerfsError('aborted', 'interrupted', { cause: error });
    }
    await rm(file, { force: true });
    await write(file, registry.blob({ host, repository }, blob, { signal }));
    return file;
  };
}

// The stream fails by an event that only whoever reads it hears.
async function* stored(path: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path) as AsyncIterable<Uint8Array>;
}

/** @returns the digest of what was written */
async function write(file: string, pieces: AsyncIterable<Uint8Array>): Promise<Digest> {
  const hash = createHash('sha256');
  const hashed = async function* (): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      hash.update(piece);
      yield piece;
    }
  };
  await writeFile(file, hashed(), { flag: 'wx', mode: 0o400 });
  return digestFromBytes(hash.digest());
}
