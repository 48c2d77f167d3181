import { renameSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ChainID, Digest } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import type { ImageRecord } from '../meta.js';
import type { ObjectWriter } from '../objects.js';
import { publishFolder, replaceFolder } from '../publish.js';
import { keepObjects, trashRemoved } from '../gc/trash.js';
import type { Session } from '../session.js';
import { ensureChain } from '../trees.js';
import type { Disk } from './disk.js';
import type { ReadLayer } from './layer.js';

/** An image whose layers are read. */
export interface FinishedImage {
  readonly names: readonly string[];
  readonly record: ImageRecord;
  /** Files in the session's folder. */
  readonly manifest: string;
  readonly config: string;
}

/** Everything that one import adds. */
export interface Addition {
  readonly images: readonly FinishedImage[];
  /** Further blobs to keep: files in the session's folder. */
  readonly documents?: ReadonlyMap<Digest, string>;
  readonly layers: readonly ReadLayer[];
  /** Merged trees in the session's folder. */
  readonly chains: ReadonlyMap<ChainID, string>;
  readonly objects: ObjectWriter;
  readonly session: Session;
  readonly disk: Disk;
}

/**
 * Makes an import permanent, all of which but for the merged trees is durable by now: nothing ever gets its name before,
 * least of all one that others use already. It is moved to where it belongs, then the names and the trees are made durable,
 * then one transaction tells of it: whoever reads the transaction's result finds all that it names, also after power loss.
 * The caller holds the store's lock shared.
 */
export async function commit(context: StoreContext, addition: Addition): Promise<void> {
  const { paths, meta } = context;
  for (const { diffID, unpacked } of addition.layers) {
    if (unpacked === undefined && meta.layer(diffID) === undefined) {
      throw new LayerfsError('unavailable', `layer ${diffID} was removed meanwhile: try again`);
    }
  }
  const blobs = new Map<Digest, string>(addition.documents);
  for (const { record, manifest, config } of addition.images) {
    blobs.set(record.digest, manifest);
    blobs.set(record.config, config);
  }
  for (const { digest, blobFile } of addition.layers) if (blobFile !== undefined) blobs.set(digest, blobFile);
  await addition.objects.publish();
  for (const { diffID, folder, unpacked } of addition.layers) {
    if (unpacked !== undefined) keepObjects(context, addition.session, unpacked.objects);
    if (folder === undefined || meta.layer(diffID) !== undefined) continue;
    if (meta.removal(diffID) !== undefined) trashRemoved(context, diffID);
    // Without a record a folder that is there is nobody's.
    replaceFolder(folder, paths.layer(diffID));
  }
  for (const [digest, file] of blobs) renameSync(file, paths.blob(digest));
  await addition.disk.sync();
  // Their names may be lost: they can be made again.
  for (const [chainID, folder] of addition.chains) publishFolder(folder, dirname(paths.chainTree(chainID)));
  // One that was there when the layers were merged may have gone with the last image that had it.
  for (const { record } of addition.images) {
    ensureChain(
      context,
      record.chainID,
      record.layers.map(({ diffID }) => diffID),
    );
  }
  const now = Date.now();
  meta.transaction((writer) => {
    for (const { diffID, digest, size, mediaType, record, unpacked, blobFile } of addition.layers) {
      // Another importer may have been first; then its count is the one.
      if (unpacked !== undefined && meta.layer(diffID) === undefined) writer.addLayer(diffID, record, unpacked.objects);
      if (blobFile !== undefined && meta.blob(digest) === undefined)
        writer.setBlob(digest, { diffID, size, mediaType });
    }
    for (const { record, names } of addition.images) {
      const known = meta.image(record.digest);
      if (known === undefined) writer.setImage(record);
      else if (record.source !== undefined) writer.setImage(pulledAgain(known, record));
      writer.setUsed(record.digest, now);
      for (const name of names) writer.setName(name, record.digest);
    }
  });
}

/** It may come from elsewhere now, and with another index. Of one name there is one index. */
function pulledAgain(known: ImageRecord, { source, indexes = [] }: ImageRecord): ImageRecord {
  const names = new Set(indexes.map(({ name }) => name));
  const all = [...(known.indexes ?? []).filter(({ name }) => !names.has(name)), ...indexes];
  return { ...known, ...(source === undefined ? {} : { source }), ...(all.length === 0 ? {} : { indexes: all }) };
}
