/**
 * What a store knows, in LMDB: one writer at a time, any number of readers in any number of processes, each transaction
 * durable when it returns. Records are JSON, so that docs/store.md can say what they hold. LMDB comes last in every
 * change: what a record names lies on disk, complete and durable.
 */
import { join } from 'node:path';
import { open, type Database, type RootDatabase } from 'lmdb';
import type { ChainID, Digest, DiffID } from '../core/digest.js';
import type { ObjectList } from './object-list.js';
import { Turn } from './turn.js';

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
  /** Bytes of all files in its layers, as their records have it; older programs did not record it. */
  readonly contentSize?: number;
  /** Where it was pulled from: a reference with host and digest. */
  readonly source?: string;
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

/** A lease: what somebody outside needs until it expires. Key: its ID. It has all that it needs of its images. */
export interface LeaseRecord {
  /** ISO 8601. */
  readonly created: string;
  /** ISO 8601. */
  readonly expires: string;
  /** Who wants it and what for. */
  readonly label: string;
  readonly images: readonly ImageRecord[];
  readonly layers: readonly DiffID[];
  /** Names of snapshots. */
  readonly snapshots: readonly string[];
}

/** A layer that is being removed, of whose object list the first `next` were counted down. Key: its diffID. */
export interface RemovalRecord {
  readonly next: number;
}

/** The databases of one store. Writes are only possible within `transaction`. */
export class Meta {
  readonly #turn: Turn;
  readonly #env: RootDatabase;
  #names!: Database<Digest, string>;
  #images!: Database<ImageRecord, string>;
  #layers!: Database<LayerRecord, string>;
  #blobs!: Database<BlobRecord, string>;
  #objects!: Database<Buffer, Buffer>;
  #snapshots!: Database<SnapshotRecord, string>;
  #leases!: Database<LeaseRecord, string>;
  #removals!: Database<RemovalRecord, string>;
  /** When images were last used, in milliseconds since 1970. */
  #used!: Database<number, string>;
  #state!: Database<number, string>;

  constructor(folder: string) {
    this.#turn = new Turn(join(folder, 'turn'));
    try {
      // Without overlapping sync a transaction is on disk when it returns.
      this.#env = this.#turn.take(() => open({ path: folder, maxDbs: 16, overlappingSync: false }));
      this.#openDatabases();
    } catch (error) {
      this.#turn.end();
      throw error;
    }
  }

  #openDatabases(): void {
    // Readers that died would keep old pages from being used again.
    this.#env.readerCheck();
    // In one transaction: each would be synced by itself when it is made.
    this.#transaction(() => {
      this.#names = this.#env.openDB<Digest, string>('names', { encoding: 'json' });
      this.#images = this.#env.openDB<ImageRecord, string>('images', { encoding: 'json' });
      this.#layers = this.#env.openDB<LayerRecord, string>('layers', { encoding: 'json' });
      this.#blobs = this.#env.openDB<BlobRecord, string>('blobs', { encoding: 'json' });
      this.#objects = this.#env.openDB<Buffer, Buffer>('objects', { encoding: 'binary', keyEncoding: 'binary' });
      this.#snapshots = this.#env.openDB<SnapshotRecord, string>('snapshots', { encoding: 'json' });
      this.#leases = this.#env.openDB<LeaseRecord, string>('leases', { encoding: 'json' });
      this.#removals = this.#env.openDB<RemovalRecord, string>('removals', { encoding: 'json' });
      this.#used = this.#env.openDB<number, string>('used', { encoding: 'json' });
      this.#state = this.#env.openDB<number, string>('state', { encoding: 'json' });
    });
  }

  /**
   * From now on all is seen that was committed before, also by a process that was killed before it could tell others: they
   * are told when the next transaction begins. Otherwise what others wrote is seen at the next turn of the event loop.
   */
  refresh(): void {
    this.#transaction(() => undefined);
    this.#env.resetReadTxn();
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

  lease(id: string): LeaseRecord | undefined {
    return this.#leases.get(id);
  }

  leases(): { id: string; lease: LeaseRecord }[] {
    return [...this.#leases.getRange()].map(({ key, value }) => ({ id: key, lease: value }));
  }

  removal(diffID: DiffID): RemovalRecord | undefined {
    return this.#removals.get(diffID);
  }

  /** Layers whose removal has begun and is not at its end. */
  removals(): DiffID[] {
    return [...this.#removals.getKeys()] as DiffID[];
  }

  /** DiffIDs of all layers. */
  layerIDs(): DiffID[] {
    return [...this.#layers.getKeys()] as DiffID[];
  }

  /** When an image was last used, in milliseconds since 1970. */
  lastUsed(image: Digest): number | undefined {
    return this.#used.get(image);
  }

  /** Grows each time that objects are taken away. */
  deletions(): number {
    return this.#state.get('deletions') ?? 0;
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
    return this.#transaction(() =>
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
        removeLayer: (diffID) => {
          this.#layers.removeSync(diffID);
        },
        setObject: (sha256, count, size) => {
          this.#setObject(sha256, count, size);
        },
        setRemoval: (diffID, removal) => {
          if (removal === undefined) this.#removals.removeSync(diffID);
          else this.#removals.putSync(diffID, removal);
        },
        countDeletion: () => {
          const deletions = this.deletions() + 1;
          this.#state.putSync('deletions', deletions);
          return deletions;
        },
        setLease: (id, lease) => {
          if (lease === undefined) this.#leases.removeSync(id);
          else this.#leases.putSync(id, lease);
        },
        setUsed: (image, time) => {
          if (time === undefined) this.#used.removeSync(image);
          else this.#used.putSync(image, time);
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

  async close(): Promise<void> {
    // Nothing is under way, so that this is done when it returns, except for reading that was not ended.
    await this.#turn.take(() => this.#env.close());
    this.#turn.end();
  }

  #transaction<T>(action: () => T): T {
    return this.#turn.take(() => this.#env.transactionSync(action));
  }

  #count(objects: ObjectList): void {
    for (let i = 0; i < objects.count; i++) {
      const key = objects.digest(i);
      this.#setObject(key, this.objectCount(key) + 1, objects.size(i));
    }
  }

  #setObject(sha256: Buffer, count: number, size: number): void {
    if (count === 0) {
      this.#objects.removeSync(sha256);
      return;
    }
    // format: u32 number of layers, u64 content size
    VALUE.writeUInt32LE(count, 0);
    VALUE.writeBigUInt64LE(BigInt(size), 4);
    this.#objects.putSync(sha256, VALUE);
  }
}

const VALUE = Buffer.alloc(12);

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
  /** Removes a layer's record. The counts of its objects are left. */
  removeLayer(diffID: DiffID): void;
  /** Sets an object's count; without any the record goes. */
  setObject(sha256: Buffer, count: number, size: number): void;
  /** How far a layer's removal is; undefined at its end. */
  setRemoval(diffID: DiffID, removal: RemovalRecord | undefined): void;
  /** Makes {@link Meta.deletions} grow, and gives it. */
  countDeletion(): number;
  /** Undefined removes it. */
  setLease(id: string, lease: LeaseRecord | undefined): void;
  /** Milliseconds since 1970; undefined forgets it. */
  setUsed(image: Digest, time: number | undefined): void;
  setBlob(digest: Digest, blob: BlobRecord): void;
  removeBlob(digest: Digest): void;
  setSnapshot(name: string, snapshot: SnapshotRecord): void;
  removeSnapshot(name: string): void;
}
