import { closeSync, openSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { syncfs } from '@layerfs/linux';
import type { ChainID, Digest } from '../../core/digest.js';
import type { StoreContext } from '../context.js';
import type { ImageRecord } from '../meta.js';
import type { ObjectWriter } from '../objects.js';
import { publishFolder } from '../trees.js';
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
}

/**
 * Makes an import permanent. Data is made durable first, then moved to where it belongs, then its names are made durable,
 * then one transaction tells of it: whoever reads the transaction's result finds all that it names, also after power loss.
 */
export async function commit(context: StoreContext, addition: Addition): Promise<void> {
  const { paths, meta } = context;
  const blobs = new Map<Digest, string>();
  for (const [index, { record, manifest, config }] of addition.images.entries()) {
    blobs.set(record.digest, writeBlob(join(addition.folder, `manifest-${index}`), manifest));
    blobs.set(record.config, writeBlob(join(addition.folder, `config-${index}`), config));
  }
  for (const { digest, blobFile } of addition.layers) if (blobFile !== undefined) blobs.set(digest, blobFile);
  syncStore(paths.root);
  await addition.objects.publish();
  for (const { diffID, folder } of addition.layers) {
    if (folder !== undefined) publishFolder(folder, paths.layer(diffID));
  }
  for (const [chainID, folder] of addition.chains) publishFolder(folder, dirname(paths.chainTree(chainID)));
  for (const [digest, file] of blobs) renameSync(file, paths.blob(digest));
  syncStore(paths.root);
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

function syncStore(root: string): void {
  const fd = openSync(root, 'r');
  try {
    syncfs(fd);
  } finally {
    closeSync(fd);
  }
}
