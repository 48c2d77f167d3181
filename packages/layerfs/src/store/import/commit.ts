import { renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ChainID, Digest } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import type { ImageRecord } from '../meta.js';
import type { ObjectWriter } from '../objects.js';
import { publishFolder } from '../publish.js';
import type { Disk } from './disk.js';
import type { ReadLayer } from './layer.js';

/** An image whose layers are read. */
export interface FinishedImage {
  readonly names: readonly string[];
  readonly record: ImageRecord;
  readonly manifest: Uint8Array;
  readonly config: Uint8Array;
}

/** Everything that one import adds. */
export interface Addition {
  readonly images: readonly FinishedImage[];
  readonly layers: readonly ReadLayer[];
  /** Merged trees in the session's folder. */
  readonly chains: ReadonlyMap<ChainID, string>;
  readonly objects: ObjectWriter;
  /** The session's folder. */
  readonly folder: string;
  readonly disk: Disk;
}

/**
 * Makes an import permanent, whose layers are durable by now. They are moved to where they belong, then all names and the
 * rest are made durable, then one transaction tells of it: whoever reads the transaction's result finds all that it names,
 * also after power loss.
 */
export async function commit(context: StoreContext, addition: Addition): Promise<void> {
  const { paths, meta } = context;
  const blobs = new Map<Digest, string>();
  for (const [index, { record, manifest, config }] of addition.images.entries()) {
    blobs.set(record.digest, writeBlob(join(addition.folder, `manifest-${index}`), manifest));
    blobs.set(record.config, writeBlob(join(addition.folder, `config-${index}`), config));
  }
  for (const { digest, blobFile } of addition.layers) if (blobFile !== undefined) blobs.set(digest, blobFile);
  await addition.objects.publish();
  for (const { diffID, folder } of addition.layers) {
    if (folder !== undefined) publishFolder(folder, paths.layer(diffID));
  }
  for (const [chainID, folder] of addition.chains) publishFolder(folder, dirname(paths.chainTree(chainID)));
  for (const [digest, file] of blobs) renameSync(file, paths.blob(digest));
  await addition.disk.sync();
  meta.transaction((writer) => {
    for (const { diffID, digest, size, mediaType, record, unpacked, blobFile } of addition.layers) {
      // Another importer may have been first; then its count is the one.
      if (unpacked !== undefined && meta.layer(diffID) === undefined) writer.addLayer(diffID, record, unpacked.objects);
      if (blobFile !== undefined && meta.blob(digest) === undefined)
        writer.setBlob(digest, { diffID, size, mediaType });
    }
    for (const { record, names } of addition.images) {
      if (meta.image(record.digest) === undefined) writer.setImage(record);
      for (const name of names) writer.setName(name, record.digest);
    }
  });
}

function writeBlob(path: string, bytes: Uint8Array): string {
  writeFileSync(path, bytes, { flag: 'wx', mode: 0o400 });
  return path;
}
