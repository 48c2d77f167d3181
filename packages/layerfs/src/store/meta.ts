/**
 * What a store knows, in LMDB: one writer at a time, any number of readers in any number of processes, each transaction
 * durable when it returns. Records are JSON, so that docs/store.md can say what they hold. LMDB comes last in every
 * change: what a record names lies on disk, complete and durable.
 */
import { open, type Database, type RootDatabase } from 'lmdb';
import type { ChainID, Digest, DiffID } from '../core/digest.js';
import type { ObjectList } from './object-list.js';

/** A layer as an image names it. `digest` and `size` are the blob's as the manifest has them. */
export interface ImageLayerRecord {
  readonly diffID: DiffID;
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
}

/** An image: one manifest. Key: the manifest's digest. */
export interface ImageRecord {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes of the manifest. */
  readonly size: number;
  readonly config: Digest;
  /** `os/architecture[/variant]`; empty when the config does not tell. */
  readonly platform: string;
  readonly created?: string;
  readonly chainID: ChainID;
  /** ISO 8601. */
  readonly imported: string;
  /** Lowest first. */
  readonly layers: readonly ImageLayerRecord[];
}

/** A layer. Key: its diffID. Sizes in bytes. */
export interface LayerRecord {
  /** Of the tar. */
  readonly size: number;
  /** Of all files in it. */
  readonly contentSize: number;
  readonly entries: number;
  /** Distinct objects. */
  readonly objects: number;
}

/** A layer blob whose content was verified once. Key: its digest. The file itself may have been dropped. */
export interface BlobRecord {
  readonly diffID: DiffID;
  readonly size: number;
  /** For whoever names the blob without a media type. */
  readonly mediaType: string;
}

/**
 * A writable snapshot of an image. Key: its name. It has all that it needs of the image, which may be removed by force:
 * its layers, manifest and config stay as long as the snapshot.
 */
export interface SnapshotRecord {
  /** Names its folder. */
  readonly id: string;
  /** The image as it was named. */
  readonly ref: string;
  /** ISO 8601. */
  readonly created: string;
  readonly image: ImageRecord;
}

/** The databases of one store. Writes are only possible within `transaction`. */
export class Meta {
  readonly #env: RootDatabase;
  readonly #names: Database<Digest, string>;
  readonly #images: Database<ImageRecord, string>;
  readonly #layers: Database<LayerRecord, string>;
  readonly #blobs: Database<BlobRecord, string>;
  readonly #objects: Database<Buffer, Buffer>;
  readonly #snapshots: Database<SnapshotRecord, string>;

  constructor(folder: string) {
    // Without overlapping sync a transaction is on disk when it returns.
    this.#env = open({ path: folder, maxDbs: 16, overlappingSync: false });
    // Readers that died would keep old pages from being used again.
    this.#env.readerCheck();
    // In one transaction: each would be synced by itself when it is made.
    [this.#names, this.#images, this.#layers, this.#blobs, this.#objects, this.#snapshots] = this.#env.transactionSync(
      () => [
        this.#env.openDB<Digest, string>('names', { encoding: 'json' }),
        this.#env.openDB<ImageRecord, string>('images', { encoding: 'json' }),
        this.#env.openDB<LayerRecord, string>('layers', { encoding: 'json' }),
        this.#env.openDB<BlobRecord, string>('blobs', { encoding: 'json' }),
        this.#env.openDB<Buffer, Buffer>('objects', { encoding: 'binary', keyEncoding: 'binary' }),
        this.#env.openDB<SnapshotRecord, string>('snapshots', { encoding: 'json' }),
      ],
    );
  }

  /** All names with the manifest they stand for, sorted. */
  names(): { name: string; digest: Digest }[] {
    return [...this.#names.getRange()].map(({ key, value }) => ({ name: key, digest: value }));
  }

  named(name: string): Digest | undefined {
    return this.#names.get(name);
  }

  images(): ImageRecord[] {
    return [...this.#images.getRange()].map(({ value }) => value);
  }

  /** What must stay whole: the images, and those that snapshots were made of, which may have been removed. */
  neededImages(): ImageRecord[] {
    return [...this.images(), ...this.snapshots().map(({ snapshot }) => snapshot.image)];
  }

  image(digest: Digest): ImageRecord | undefined {
    return this.#images.get(digest);
  }

  layer(diffID: DiffID): LayerRecord | undefined {
    return this.#layers.get(diffID);
  }

  layers(): { diffID: DiffID; layer: LayerRecord }[] {
    return [...this.#layers.getRange()].map(({ key, value }) => ({ diffID: key as DiffID, layer: value }));
  }

  blob(digest: Digest): BlobRecord | undefined {
    return this.#blobs.get(digest);
  }

  blobs(): { digest: Digest; blob: BlobRecord }[] {
    return [...this.#blobs.getRange()].map(({ key, value }) => ({ digest: key as Digest, blob: value }));
  }

  snapshot(name: string): SnapshotRecord | undefined {
    return this.#snapshots.get(name);
  }

  /** All snapshots, sorted by name. */
  snapshots(): { name: string; snapshot: SnapshotRecord }[] {
    return [...this.#snapshots.getRange()].map(({ key, value }) => ({ name: key, snapshot: value }));
  }

  /** How many layers hold an object. */
  objectCount(sha256: Buffer): number {
    return this.#objects.get(sha256)?.readUInt32LE(0) ?? 0;
  }

  /** Number and content bytes of all objects. */
  objectTotals(): { count: number; bytes: number } {
    let count = 0;
    let bytes = 0;
    for (const { value } of this.#objects.getRange()) {
      count++;
      bytes += Number(value.readBigUInt64LE(4));
    }
    return { count, bytes };
  }

  /** What the store holds at this moment, whatever is changed later, until `end` is called. Reads only. */
  view(): MetaView {
    const transaction = this.#env.useReadTransaction();
    const layers = this.#layers;
    const objects = this.#objects;
    return {
      *layers() {
        for (const { key, value } of layers.getRange({ transaction })) yield { diffID: key as DiffID, layer: value };
      },
      *objects() {
        for (const { key, value } of objects.getRange({ transaction })) yield { key, count: value.readUInt32LE(0) };
      },
      objectCount: (sha256) => objects.get(sha256, { transaction })?.readUInt32LE(0) ?? 0,
      end: () => transaction.done(),
    };
  }

  /** Runs `action` in one write transaction: all of it is durable afterwards, or, when it throws, nothing happened. */
  transaction<T>(action: (writer: MetaWriter) => T): T {
    return this.#env.transactionSync(() =>
      action({
        setName: (name, digest) => {
          this.#names.putSync(name, digest);
        },
        removeName: (name) => {
          this.#names.removeSync(name);
        },
        setImage: (image) => {
          this.#images.putSync(image.digest, image);
        },
        removeImage: (digest) => {
          this.#images.removeSync(digest);
        },
        addLayer: (diffID, layer, objects) => {
          this.#layers.putSync(diffID, layer);
          this.#count(objects);
        },
        removeLayer: (diffID, objects) => {
          this.#layers.removeSync(diffID);
          return this.#uncount(objects);
        },
        setBlob: (digest, blob) => {
          this.#blobs.putSync(digest, blob);
        },
        removeBlob: (digest) => {
          this.#blobs.removeSync(digest);
        },
        setSnapshot: (name, snapshot) => {
          this.#snapshots.putSync(name, snapshot);
        },
        removeSnapshot: (name) => {
          this.#snapshots.removeSync(name);
        },
      }),
    );
  }

  close(): Promise<void> {
    return this.#env.close();
  }

  #count(objects: ObjectList): void {
    // format: u32 number of layers, u64 content size
    const value = Buffer.alloc(12);
    for (let i = 0; i < objects.count; i++) {
      const key = objects.digest(i);
      value.writeUInt32LE(this.objectCount(key) + 1, 0);
      value.writeBigUInt64LE(BigInt(objects.size(i)), 4);
      this.#objects.putSync(key, value);
    }
  }

  #uncount(objects: ObjectList): number[] {
    const free: number[] = [];
    const value = Buffer.alloc(12);
    for (let i = 0; i < objects.count; i++) {
      const key = objects.digest(i);
      const count = this.objectCount(key);
      if (count > 1) {
        value.writeUInt32LE(count - 1, 0);
        value.writeBigUInt64LE(BigInt(objects.size(i)), 4);
        this.#objects.putSync(key, value);
      } else {
        if (count === 1) this.#objects.removeSync(key);
        free.push(i);
      }
    }
    return free;
  }
}

/** See {@link Meta.view}. */
export interface MetaView {
  layers(): Iterable<{ readonly diffID: DiffID; readonly layer: LayerRecord }>;
  /** In the order of their digests. `key` is the sha256, 32 bytes. */
  objects(): Iterable<{ readonly key: Buffer; readonly count: number }>;
  objectCount(sha256: Buffer): number;
  end(): void;
}

/** What a transaction can change. */
export interface MetaWriter {
  setName(name: string, digest: Digest): void;
  removeName(name: string): void;
  setImage(image: ImageRecord): void;
  removeImage(digest: Digest): void;
  /** Adds a layer and counts its objects. It must not be there yet. */
  addLayer(diffID: DiffID, layer: LayerRecord, objects: ObjectList): void;
  /** Removes a layer; gives the indexes of the objects that no layer holds any more. */
  removeLayer(diffID: DiffID, objects: ObjectList): number[];
  setBlob(digest: Digest, blob: BlobRecord): void;
  removeBlob(digest: Digest): void;
  setSnapshot(name: string, snapshot: SnapshotRecord): void;
  removeSnapshot(name: string): void;
}
