/**
 * What a store knows: one writer at a time, any number of readers in any number of processes, each transaction durable when
 * it returns. Records are JSON, so that docs/store.md can say what they hold. They come last in every change: what a record
 * names lies on disk, complete and durable.
 */
import type { ChainID, Digest, DiffID } from '../core/digest.js';
import { RecordFile, type Cell } from '../records/record-file.js';
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
  /** Bytes of all files in its layers, as their records have it; older programs did not record it. */
  readonly contentSize?: number;
  /** Where it was pulled from: a reference with host and digest. */
  readonly source?: string;
  /** One for each name; the last is the latest. */
  readonly indexes?: readonly IndexRecord[];
}

/** What a list says about an image. */
export interface ImageSummary extends Pick<
  ImageRecord,
  'digest' | 'config' | 'platform' | 'created' | 'imported' | 'contentSize'
> {
  /** How many. */
  readonly layers: number;
  /** When it was last used, in milliseconds since 1970; undefined where that is unknown. */
  readonly used: number | undefined;
}

/**
 * An index that images were pulled with, as a whole. Each of its images has it in its record. `documents`: the index itself first, further
 * indexes, and manifests, configs and blobs of what is no image, all of which are kept as blobs.
 */
export interface IndexRecord {
  /** What it was pulled as. */
  readonly name: string;
  /** `size` in bytes. */
  readonly documents: readonly { readonly mediaType: string; readonly digest: Digest; readonly size: number }[];
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

/** The tables of a store's records. format: see docs/store.md */
export const META_TABLES = [
  ...['names', 'images', 'layers', 'blobs', 'snapshots', 'leases', 'removals', 'used', 'state'].map(
    (name) => `create table ${name} (key text primary key, value text not null) strict, without rowid`,
  ),
  'create table objects (sha256 blob primary key, layers integer not null, size integer not null) strict, without rowid',
].join('; ');

/** Tables whose values are JSON. */
interface Tables {
  names: Digest;
  images: ImageRecord;
  layers: LayerRecord;
  blobs: BlobRecord;
  snapshots: SnapshotRecord;
  leases: LeaseRecord;
  removals: RemovalRecord;
  used: number;
  state: number;
}
type Table = keyof Tables;

/** Objects that one statement counts. */
const PIECE = 50_000;

/** The records of one store. Writes are only possible within `transaction`. */
export class Meta {
  readonly #file: RecordFile;

  /** @param path the file of records. @throws LayerfsError corrupt naming the file */
  constructor(path: string) {
    this.#file = new RecordFile(path);
  }

  /** All names with the manifest they stand for, sorted. */
  names(): { name: string; digest: Digest }[] {
    return this.#all('names').map(({ key, value }) => ({ name: key, digest: value }));
  }

  named(name: string): Digest | undefined {
    return this.#get('names', name);
  }

  images(): ImageRecord[] {
    return this.#all('images').map(({ value }) => value);
  }

  /** The images as a list tells of them, sorted by digest. Their records are not read into this program: there may be thousands. */
  imageSummaries(): ImageSummary[] {
    return this.#file
      .select(SUMMARIES)
      .map(([digest, config, platform, created, imported, contentSize, layers, used]) => ({
        digest: digest as Digest,
        config: config as Digest,
        platform: platform as string,
        ...(created === null ? {} : { created: created as string }),
        imported: imported as string,
        ...(contentSize === null ? {} : { contentSize: contentSize as number }),
        layers: layers as number,
        used: used === null ? undefined : Number(used),
      }));
  }

  imageDigests(): Digest[] {
    return this.#keys('images') as Digest[];
  }

  image(digest: Digest): ImageRecord | undefined {
    return this.#get('images', digest);
  }

  layer(diffID: DiffID): LayerRecord | undefined {
    return this.#get('layers', diffID);
  }

  layers(): { diffID: DiffID; layer: LayerRecord }[] {
    return this.#all('layers').map(({ key, value }) => ({ diffID: key as DiffID, layer: value }));
  }

  blob(digest: Digest): BlobRecord | undefined {
    return this.#get('blobs', digest);
  }

  blobs(): { digest: Digest; blob: BlobRecord }[] {
    return this.#all('blobs').map(({ key, value }) => ({ digest: key as Digest, blob: value }));
  }

  snapshot(name: string): SnapshotRecord | undefined {
    return this.#get('snapshots', name);
  }

  /** All snapshots, sorted by name. */
  snapshots(): { name: string; snapshot: SnapshotRecord }[] {
    return this.#all('snapshots').map(({ key, value }) => ({ name: key, snapshot: value }));
  }

  lease(id: string): LeaseRecord | undefined {
    return this.#get('leases', id);
  }

  leases(): { id: string; lease: LeaseRecord }[] {
    return this.#all('leases').map(({ key, value }) => ({ id: key, lease: value }));
  }

  removal(diffID: DiffID): RemovalRecord | undefined {
    return this.#get('removals', diffID);
  }

  /** Layers whose removal has begun and is not at its end. */
  removals(): DiffID[] {
    return this.#keys('removals') as DiffID[];
  }

  /** DiffIDs of all layers. */
  layerIDs(): DiffID[] {
    return this.#keys('layers') as DiffID[];
  }

  /** When an image was last used, in milliseconds since 1970. */
  lastUsed(image: Digest): number | undefined {
    return this.#get('used', image);
  }

  /** Grows each time that objects are taken away. */
  deletions(): number {
    return this.#get('state', 'deletions') ?? 0;
  }

  /** How many layers hold an object. */
  objectCount(sha256: Uint8Array): number {
    return countOf(this.#file, sha256);
  }

  /** How many layers hold each of some objects. @param digests sha256 as 64 hex digits */
  objectCounts(digests: readonly string[]): number[] {
    return this.#file.select(COUNTS, JSON.stringify(digests)).map(([layers]) => layers as number);
  }

  /** Number and content bytes of all objects. */
  objectTotals(): { count: number; bytes: number } {
    const [[count, bytes]] = this.#file.select('select row(count(*), coalesce(sum(size), 0)) from objects');
    return { count: Number(count), bytes: Number(bytes) };
  }

  /** All that is read within is as of one moment. */
  reading<T>(action: () => T): T {
    return this.#file.reading(action);
  }

  /** What the store holds at this moment, whatever is changed later, until `end` is called. Reads only. */
  view(): MetaView {
    const file = new RecordFile(this.#file.path);
    const moment = file.hold();
    return {
      *layers() {
        for (const [key, value] of file.pages('layers', ['key', 'value'])) {
          yield { diffID: key as DiffID, layer: JSON.parse(value as string) as LayerRecord };
        }
      },
      *objects() {
        for (const [sha256, layers] of file.pages('objects', ['sha256', 'layers'])) {
          yield { key: bytesOf(sha256), count: layers as number };
        }
      },
      objectCount: (sha256) => countOf(file, sha256),
      end: () => {
        moment.release();
        file.close();
      },
    };
  }

  /** Runs `action` in one write transaction: all of it is durable afterwards, or, when it throws, nothing happened. */
  transaction<T>(action: (writer: MetaWriter) => T): T {
    return this.#file.transaction(() =>
      action({
        setName: (name, digest) => this.#set('names', name, digest),
        removeName: (name) => this.#remove('names', name),
        setImage: (image) => this.#set('images', image.digest, image),
        removeImage: (digest) => this.#remove('images', digest),
        addLayer: (diffID, layer, objects) => {
          this.#set('layers', diffID, layer);
          this.#count(objects);
        },
        removeLayer: (diffID) => this.#remove('layers', diffID),
        setObjects: (counts) => this.#setObjects(counts),
        setRemoval: (diffID, removal) => this.#set('removals', diffID, removal),
        countDeletion: () => {
          const deletions = this.deletions() + 1;
          this.#set('state', 'deletions', deletions);
          return deletions;
        },
        setLease: (id, lease) => this.#set('leases', id, lease),
        setUsed: (image, time) => this.#set('used', image, time),
        setBlob: (digest, blob) => this.#set('blobs', digest, blob),
        removeBlob: (digest) => this.#remove('blobs', digest),
        setSnapshot: (name, snapshot) => this.#set('snapshots', name, snapshot),
        removeSnapshot: (name) => this.#remove('snapshots', name),
      }),
    );
  }

  /**
   * Sees to it that what is seen now stays: a transaction of which a process that died, or was told of an error, had
   * written all but the end may be found after the next crash, unless another one is written over it. To be called before
   * anything is taken away because no record names it.
   */
  settle(): void {
    this.#file.settle();
  }

  /** See {@link RecordFile.economize}. */
  economize(): void {
    this.#file.economize();
  }

  close(): void {
    this.#file.close();
  }

  #all<K extends Table>(table: K): { key: string; value: Tables[K] }[] {
    return this.#file
      .select(`select row(key, value) from ${table} order by key`)
      .map(([key, value]) => ({ key: key as string, value: JSON.parse(value as string) as Tables[K] }));
  }

  #keys(table: Table): string[] {
    return this.#file.select(`select row(key) from ${table} order by key`).map(([key]) => key as string);
  }

  #get<K extends Table>(table: K, key: string): Tables[K] | undefined {
    const value = this.#file.value(table, key);
    return value === undefined ? undefined : (JSON.parse(value) as Tables[K]);
  }

  #set(table: Table, key: string, value: unknown): void {
    if (value === undefined) this.#remove(table, key);
    else this.#file.put(table, key, JSON.stringify(value));
  }

  #remove(table: Table, key: string): void {
    this.#file.remove(table, key);
  }

  /** Counts each object of a list once more. */
  #count(objects: ObjectList): void {
    for (let start = 0; start < objects.count; start += PIECE) {
      const sizes: Record<string, number> = {};
      for (let i = start; i < Math.min(start + PIECE, objects.count); i++) sizes[objects.hex(i)] = objects.size(i);
      this.#file.change(COUNT_MORE, JSON.stringify(sizes));
    }
  }

  #setObjects(counts: readonly ObjectCount[]): void {
    const gone = counts.filter(({ layers }) => layers === 0).map(({ hex }) => hex);
    if (gone.length > 0) this.#file.change(DROP_COUNTS, JSON.stringify(gone));
    for (const layers of new Set(counts.map((each) => each.layers))) {
      if (layers === 0) continue;
      const sizes = counts.filter((each) => each.layers === layers).map(({ hex, size }) => [hex, size] as const);
      this.#file.change(SET_COUNTS, JSON.stringify(Object.fromEntries(sizes)), layers);
    }
  }
}

/** How many layers hold an object. */
export interface ObjectCount {
  /** Its sha256, 64 hex digits. */
  readonly hex: string;
  readonly layers: number;
  /** Bytes of its content. */
  readonly size: number;
}

/** Each image with what {@link ImageSummary} says. */
const SUMMARIES = `select row(images.key, ${['config', 'platform', 'created', 'imported', 'contentSize']
  .map((name) => `images.value ->> '${name}'`)
  .join()}, json_array_length(images.value, '$.layers'), used.value)
  from images left join used on used.key = images.key order by images.key`;

/** Given an array of digests as hex, in JSON. */
const COUNTS = `select row(coalesce(layers, 0)) from json_each(given(0)) left join objects on sha256 = unhex(value)`;

/** Given as JSON: `{HEX: SIZE, …}`. */
const COUNT_MORE = `insert into objects select unhex(key), 1, value from json_each(given(0)) where true
  on conflict (sha256) do update set layers = layers + 1`;

/** Given as JSON: `{HEX: SIZE, …}`, and how many layers hold each. */
const SET_COUNTS = `insert or replace into objects select unhex(key), given(1), value from json_each(given(0))`;

/** Given an array of digests as hex, in JSON. */
const DROP_COUNTS = `delete from objects where sha256 in (select unhex(value) from json_each(given(0)))`;

function countOf(file: RecordFile, sha256: Uint8Array): number {
  const [row] = file.select('select row(layers) from objects where sha256 = given(0)', sha256);
  return row === undefined ? 0 : (row[0] as number);
}

function bytesOf(cell: Cell): Buffer {
  const bytes = cell as Uint8Array;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
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
  /** Removes a layer's record. The counts of its objects are left. */
  removeLayer(diffID: DiffID): void;
  /** Sets counts of objects; where it is 0 the record goes. */
  setObjects(counts: readonly ObjectCount[]): void;
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
