import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { digestFromBytes, digestHex, type Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { Descriptor } from '../../core/oci/descriptor.js';
import { MAX_DOCUMENT } from '../../core/oci/json.js';
import { isForeignLayerType } from '../../core/oci/media-types.js';
import { isErrno } from '../errors.js';
import type { Archive } from './archive.js';

/** The files of an OCI layout, wherever they lie. Paths are relative to the layout. */
export interface LayoutFiles {
  /** Bytes; undefined when there is no such file. */
  size(path: string): Promise<number | undefined>;
  open(path: string): AsyncIterable<Uint8Array>;
  /** A small file as a whole; at most {@link MAX_DOCUMENT} bytes. */
  document(path: string): Promise<Uint8Array>;
  /** Where a file lies on disk by itself. */
  path(path: string): string | undefined;
}

/** A layout in a folder. */
export function folderFiles(folder: string): LayoutFiles {
  return {
    async size(path) {
      try {
        const stats = await stat(join(folder, path));
        return stats.isFile() ? stats.size : undefined;
      } catch (error) {
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
        throw error;
      }
    },
    open: (path) => createReadStream(join(folder, path), { highWaterMark: 512 * 1024 }),
    async document(path) {
      const file = await open(join(folder, path), 'r');
      try {
        const { size } = await file.stat();
        if (size > MAX_DOCUMENT) {
          throw new LayerfsError(
            'invalid-argument',
            `${path} has ${size} bytes; more than ${MAX_DOCUMENT} are not accepted`,
          );
        }
        return await file.readFile();
      } finally {
        await file.close();
      }
    },
    path: (path) => join(folder, path),
  };
}

/** A layout in an archive. */
export function archiveFiles(archive: Archive): LayoutFiles {
  return {
    size: (path) => Promise.resolve(archive.size(path)),
    open: (path) => archive.open(path),
    document: (path) => archive.document(path),
    path: () => undefined,
  };
}

/** Where a layout keeps a blob. */
export function blobPath(digest: Digest): string {
  return `blobs/sha256/${digestHex(digest)}`;
}

/** Makes sure that a blob is there with the size that its descriptor says. @throws LayerfsError naming who refers to it */
export async function checkBlob(files: LayoutFiles, descriptor: Descriptor, referrer: string): Promise<void> {
  const size = await files.size(blobPath(descriptor.digest));
  if (size === undefined) {
    const foreign = isForeignLayerType(descriptor.mediaType)
      ? `; its media type ${descriptor.mediaType} means that it has to come from elsewhere`
      : '';
    throw new LayerfsError('not-found', `blob ${descriptor.digest} is missing; ${referrer} refers to it${foreign}`);
  }
  if (size !== descriptor.size) {
    throw new LayerfsError(
      'corrupt',
      `blob ${descriptor.digest} has a size of ${size} bytes where ${referrer} says ${descriptor.size}`,
    );
  }
}

/** Reads a manifest, index or config and verifies size and digest. */
export async function readDocument(files: LayoutFiles, descriptor: Descriptor, referrer: string): Promise<Uint8Array> {
  if (descriptor.size > MAX_DOCUMENT) {
    throw new LayerfsError(
      'invalid-argument',
      `${referrer} refers to ${descriptor.digest} of ${descriptor.size} bytes; more than ${MAX_DOCUMENT} are not accepted`,
    );
  }
  await checkBlob(files, descriptor, referrer);
  const bytes = await files.document(blobPath(descriptor.digest));
  const digest = sha256(bytes);
  if (digest !== descriptor.digest) {
    throw new LayerfsError('corrupt', `blob ${descriptor.digest} is damaged: its content has digest ${digest}`);
  }
  return bytes;
}

/** The digest of bytes in memory. */
export function sha256(bytes: Uint8Array): Digest {
  return digestFromBytes(createHash('sha256').update(bytes).digest());
}
