import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { Readable, type Writable } from 'node:stream';
import type { ChainID, Digest, DiffID } from '../core/digest.js';
import { LayerfsError } from '../core/error.js';
import { utf8ToLatin1 } from '../core/bytes.js';
import type { Change } from '../core/overlay/entry.js';
import { S_IFDIR, S_IFMT, S_IFREG } from '../core/tree/format.js';
import type { Tree } from '../core/tree/tree.js';
import { layerHistory } from '../core/oci/config.js';
import { parseImageName } from '../core/oci/reference.js';
import type { StoreContext } from './context.js';
import { storeError } from './errors.js';
import { loadXxhash } from './hash.js';
import {
  describeImage,
  imageConfig,
  imageHistory,
  imageInfo,
  listImages,
  type HistoryEntry,
  type Image,
  type ImageInfo,
} from './image/info.js';
import { holdVersion, type VersionHold } from './format/version.js';
import type { GcOptions, GcProgress, GcResult } from './gc/gc.js';
import { Leases } from './gc/leases.js';
import type { PruneOptions, PruneResult } from './gc/prune.js';
import { sweepStore } from './gc/sweep.js';
import { followPath } from './image/follow.js';
import { findImage, type FoundImage } from './image/lookup.js';
import type { DropResult, RemoveOptions, RemoveResult } from './image/remove.js';
import { touch } from './image/last-use.js';
import { Totals, type StoreTotals } from './usage/totals.js';
import { StackIndex, type FoundStack } from './image/stacks.js';
import type { Usage, UsageOptions } from './usage/usage.js';
import type { ImportOptions, ImportResult } from './import/progress.js';
import type { PullOptions, PullResult } from './import/pull.js';
import { Meta, type ImageRecord } from './meta.js';
import { makeMeta } from './new-meta.js';
import type { CheckoutOptions, CheckoutResult } from './output/checkout.js';
import type { CopyOptions, CopyResult } from './output/copy.js';
import type { ExportOptions, ExportResult } from './output/export.js';
import type { PushOptions, PushResult } from './output/push.js';
import { defaultRoot, StorePaths } from './paths.js';
import type { CommitOptions, CommitResult } from './snapshot/commit.js';
import type { DiffOptions } from './snapshot/diff.js';
import { findSnapshot, listSnapshots, snapshotRecord, type Snapshot } from './snapshot/snapshot.js';
import type { RemoveSnapshotResult } from './snapshot/remove.js';
import type { SealedLayer, SealOptions } from './snapshot/seal.js';
import type { Stack } from './snapshot/upper-tar.js';
import { withKept, type Kept } from './session.js';
import type { ImportInput } from './source/open.js';
import { keepReserve, useReserve } from './reserve.js';
import { StoreLock } from './store-lock.js';
import type { MappedTree } from './trees.js';

export { defaultRoot } from './paths.js';

/** Options of {@link openStore}. */
export interface StoreOptions {
  /** The store's folder; made when it is missing. */
  readonly root?: string;
  /** Gives up waiting for others who have an old store open. */
  readonly signal?: AbortSignal;
}

/** The merged tree of an image. */
export interface ImageTree {
  /** The file that it lies in. */
  readonly path: string;
  /** Valid as long as the process lives. */
  readonly tree: Tree;
  readonly chainID: ChainID;
  /** Base first. */
  readonly diffIDs: readonly DiffID[];
  /** Manifest digest. */
  readonly image: Digest;
  /** The image's name, or its digest where it has none. */
  readonly ref: string;
  /** About the mean size in bytes of the files in its layers. */
  readonly meanSize: number;
}

/** The tree of one layer. */
export interface LayerTree {
  readonly diffID: DiffID;
  readonly path: string;
  readonly tree: Tree;
  readonly createdBy?: string;
}

/**
 * Opens a store, and makes it when it is not there. Any number of processes may have one open. What a process that died
 * left behind is removed on the way. A store of an older format version is brought to this one, unless somebody else has it
 * open for more than some seconds.
 * @throws LayerfsError permission-denied; failed-precondition for the store of a newer layerfs, and for one that an older
 * one uses; aborted
 */
export async function openStore(options: StoreOptions = {}): Promise<Store> {
  const paths = new StorePaths(resolve(options.root ?? defaultRoot()));
  let hold: VersionHold | undefined;
  let meta: Meta | undefined;
  let store: Store | undefined;
  try {
    paths.prepareRoot();
    hold = await holdVersion(paths, options.signal);
    paths.prepare();
    useReserve(paths);
    await makeMeta(paths);
    meta = new Meta(paths.records);
    const context = { paths, meta, lock: new StoreLock(paths), xxhash: await loadXxhash() };
    await sweepStore(context);
    keepReserve(paths);
    store = new Store(context, hold);
    return store;
  } catch (error) {
    throw storeError(error, 'opening the store', paths.root);
  } finally {
    if (store === undefined) {
      meta?.close();
      hold?.release();
    }
  }
}

/** An open store. All methods throw {@link LayerfsError}. What long work needs is loaded when it is first asked for. */
export class Store {
  readonly root: string;
  readonly paths: StorePaths;
  /** What is kept for others, until a time. */
  readonly leases: Leases;
  readonly #context: StoreContext;
  readonly #stacks = new StackIndex();
  readonly #hold: VersionHold;
  readonly #trees = new Map<string, MappedTree>();
  readonly #totals: Totals;

  /** Use {@link openStore}. */
  constructor(context: StoreContext, hold: VersionHold) {
    this.#context = context;
    this.#hold = hold;
    this.leases = new Leases(context);
    this.#totals = new Totals(context.meta);
    this.paths = context.paths;
    this.root = context.paths.root;
  }

  /**
   * Adds images from an OCI layout folder, an oci-archive or docker-archive, a tar of a root filesystem, a folder, or a
   * stream of one of the tars. `PATH:TAG` picks one image of several. When it fails, nothing was added.
   */
  import(input: ImportInput, options: ImportOptions = {}): Promise<ImportResult> {
    const what = typeof input === 'string' ? input : 'the input';
    return this.#try(`importing ${what}`, async () => {
      const { importImages } = await import('./import/import.js');
      return importImages(this.#context, input, options);
    });
  }

  /**
   * Adds an image from a registry, straight from the network; layers and blobs that the store has are not fetched. What had come
   * when an earlier pull failed, or was killed, is not fetched again either.
   * @param ref `[HOST/]PATH[:TAG][@DIGEST]`
   */
  pull(ref: string, options: PullOptions = {}): Promise<PullResult> {
    return this.#try(`pulling ${ref}`, async () => {
      const { pullImages } = await import('./import/pull.js');
      return pullImages(this.#context, ref, options);
    });
  }

  /**
   * Writes an image as an OCI layout: to a folder that is new or empty, to a file whose name ends in `.tar`, or as a tar to
   * a stream. All digests are the ones that it came with; where compressed blobs were dropped, the layers are uncompressed
   * and a new manifest says so.
   */
  export(ref: string, out: string | Writable, options: ExportOptions = {}): Promise<ExportResult> {
    return this.#try(`exporting ${ref}`, async () => {
      const { exportImage } = await import('./output/export.js');
      return this.#withImage(`export ${ref}`, ref, options.signal, (found) =>
        exportImage(this.#context, found, out, options),
      );
    });
  }

  /** Puts an image into a registry: what that lacks of it. Digests are those that it came with, as of {@link export}. */
  push(ref: string, options: PushOptions = {}): Promise<PushResult> {
    return this.#try(`pushing ${ref}`, async () => {
      const { imagesOfIndex, pushImage } = await import('./output/push.js');
      const also = (found: FoundImage): ImageRecord[] =>
        options.allPlatforms === true ? imagesOfIndex(this.#context, found) : [];
      const push = (found: FoundImage): Promise<PushResult> => pushImage(this.#context, found, options);
      return this.#withImage(`push ${ref}`, ref, options.signal, push, also);
    });
  }

  /**
   * Copies an image from one registry to another, without adding it: layers that the store has come from there, the others go straight
   * through. Interrupted, it goes on where it was.
   * @param from `[HOST/]PATH[:TAG][@DIGEST]`
   */
  copy(from: string, to: string, options: CopyOptions = {}): Promise<CopyResult> {
    return this.#try(`copying ${from}`, async () => {
      const { copyImage } = await import('./output/copy.js');
      return copyImage(this.#context, from, to, options);
    });
  }

  /** Writes an image's files to a folder that is new or empty. */
  checkout(ref: string, folder: string, options: CheckoutOptions = {}): Promise<CheckoutResult> {
    return this.#try(`checking out ${ref}`, () =>
      this.#withImage(`checkout ${ref}`, ref, options.signal, async ({ record }) => {
        const diffIDs = record.layers.map(({ diffID }) => diffID);
        return this.#checkoutChain(record.chainID, diffIDs, folder, options);
      }),
    );
  }

  /** All images, sorted by name. */
  images(): ImageInfo[] {
    return listImages(this.#context.meta);
  }

  /** Everything about one image. `ref`: its name, or its ID or the beginning of that. */
  image(ref: string): Image {
    return describeImage(this.#context, findImage(this.#context.meta, ref));
  }

  /** The same as {@link image}. */
  inspect(ref: string): Image {
    return this.image(ref);
  }

  /** The steps that made an image, newest first. */
  history(ref: string): HistoryEntry[] {
    return imageHistory(this.#context, findImage(this.#context.meta, ref).record);
  }

  /** Gives an image a further name; the name may have stood for another one before. */
  tag(ref: string, name: string): ImageInfo {
    const { meta } = this.#context;
    const { record } = findImage(meta, ref);
    const full = parseImageName(name);
    meta.transaction((writer) => {
      if (meta.image(record.digest) === undefined) throw new LayerfsError('not-found', `${ref} was removed meanwhile`);
      writer.setName(full, record.digest);
    });
    return { name: full, ...imageInfo(meta, record) };
  }

  /** Takes away a name, and with its last one the image and all that only it needs. */
  removeImage(ref: string, options: RemoveOptions = {}): Promise<RemoveResult> {
    return this.#freeing(`removing ${ref}`, async () => {
      const { removeImage } = await import('./image/remove.js');
      return removeImage(this.#context, ref, options);
    });
  }

  /**
   * Frees what nothing refers to: images without a name, what was kept only for mounts, snapshots and leases that are gone,
   * and whatever was left behind. Imports and mounts go on meanwhile.
   */
  gc(options: GcOptions = {}): Promise<GcResult> {
    return this.#freeing('collecting garbage', async () => {
      const { collectGarbage } = await import('./gc/gc.js');
      return collectGarbage(this.#context, options);
    });
  }

  /** Gives up compressed layer blobs, of one image or of all; the layers stay complete. */
  dropBlobs(
    ref?: string,
    options: { readonly dryRun?: boolean; readonly signal?: AbortSignal } = {},
  ): Promise<DropResult> {
    return this.#freeing('dropping blobs', async () => {
      const { dropBlobs } = await import('./image/remove.js');
      return this.#context.lock.exclusive(options.signal, () => {
        const record = ref === undefined ? undefined : findImage(this.#context.meta, ref).record;
        return dropBlobs(this.#context, record, options.dryRun ?? false);
      });
    });
  }

  /** Removes images by policy, and what only they need; those that are mounted, leased, in use, or have snapshots stay. */
  prune(options: PruneOptions): Promise<PruneResult> {
    return this.#freeing('pruning', async () => {
      const { prune } = await import('./gc/prune.js');
      return prune(this.#context, options);
    });
  }

  /** How much the store and each image take. Looks at every file of the store. */
  usage(options: UsageOptions = {}): Promise<Usage> {
    return this.#try('adding up', async () => {
      const { storeUsage } = await import('./usage/usage.js');
      return storeUsage(this.#context, options);
    });
  }

  /** Numbers of objects and layers, from the records alone. */
  totals(): StoreTotals {
    return this.#totals.read();
  }

  /**
   * Makes a writable snapshot of an image: an upper folder in kernel overlayfs's format, with the attributes of the image's
   * root. It keeps what it needs of the image, whatever becomes of that.
   * @param options `name`: letters, digits, `_`, `.` and `-`; one is made up without it
   */
  createSnapshot(
    ref: string,
    options: { readonly name?: string; readonly signal?: AbortSignal } = {},
  ): Promise<Snapshot> {
    return this.shared(async () => {
      const { createSnapshot } = await import('./snapshot/create.js');
      const snapshot = createSnapshot(this.#context, ref, options.name);
      touch(this.#context, [snapshot.image]);
      return snapshot;
    }, options);
  }

  /** All snapshots, sorted by name. */
  snapshots(): Snapshot[] {
    return listSnapshots(this.#context);
  }

  /** One snapshot. */
  snapshot(name: string): Snapshot {
    return findSnapshot(this.#context, name);
  }

  /** Removes a snapshot and all that was changed in it; not while it is mounted. */
  removeSnapshot(
    name: string,
    options: { readonly onProgress?: (event: GcProgress) => void; readonly signal?: AbortSignal } = {},
  ): Promise<RemoveSnapshotResult> {
    return this.#freeing(`removing ${name}`, async () => {
      const { removeSnapshot } = await import('./snapshot/remove.js');
      return removeSnapshot(this.#context, name, options);
    });
  }

  /**
   * What was changed, sorted by path: of a snapshot against its image, or from one image to another.
   * @param from a snapshot's name, or an image where `to` is one
   * @param options `freeze`: for a snapshot that is mounted
   */
  diff(from: string, to?: string, options: DiffOptions = {}): Promise<Change[]> {
    return this.#try('comparing', async () => {
      const { diffImages, diffSnapshot } = await import('./snapshot/diff.js');
      return to === undefined
        ? diffSnapshot(this.#context, from, options)
        : diffImages(this.#context, from, to, options);
    });
  }

  /** Makes an image of a snapshot: its image, and a layer of what was changed. The snapshot stays as it is. */
  commit(snapshot: string, ref: string, options: CommitOptions = {}): Promise<CommitResult> {
    return this.#try(`committing ${snapshot}`, async () => {
      const { commitSnapshot } = await import('./snapshot/commit.js');
      return commitSnapshot(this.#context, snapshot, ref, options);
    });
  }

  /** The merged tree of an image. */
  tree(ref: string): Promise<ImageTree> {
    return this.shared(() => {
      const { name, record } = findImage(this.#context.meta, ref);
      return this.#imageTree(record, name ?? record.digest);
    });
  }

  /** The merged tree that a snapshot stands on. */
  snapshotTree(name: string): Promise<ImageTree> {
    return this.shared(() => {
      const { image, ref } = snapshotRecord(this.#context.meta, name);
      return this.#imageTree(image, ref);
    });
  }

  /**
   * The EROFS image of a merged tree, made when it is not there yet: what kernel mounts stand on.
   * @returns its path
   */
  erofsImage(image: Pick<ImageTree, 'chainID' | 'diffIDs'>): Promise<string> {
    return this.shared(async () => {
      const { ensureErofs } = await import('./erofs.js');
      return ensureErofs(this.#context, image.chainID, image.diffIDs);
    });
  }

  /** The layers of a stack that an image of the store begins with; undefined when there is none. */
  findStack(chainID: ChainID): FoundStack | undefined {
    return this.#stacks.find(this.#context, chainID);
  }

  /** The merged tree of a stack of layers, which the caller keeps in the store, as of an image that has the stack's chainID as digest. */
  stackTree({ chainID, diffIDs }: Stack): Promise<ImageTree> {
    return this.shared(async () => ({
      ...(await this.#chainTree(chainID, diffIDs)),
      chainID,
      diffIDs,
      image: chainID as string as Digest,
      ref: chainID,
      meanSize: this.#meanSize(diffIDs),
    }));
  }

  /** Writes the files of a stack of layers, which the caller keeps in the store, to a folder that is new or empty. */
  checkoutStack({ chainID, diffIDs }: Stack, folder: string, options: CheckoutOptions = {}): Promise<CheckoutResult> {
    return this.#try(`checking out ${chainID}`, () => this.#checkoutChain(chainID, diffIDs, folder, options));
  }

  /**
   * Makes a layer of an upper folder in overlayfs's format, and leases the stack of which it is the top one. The folder stays.
   * @param below what it stands on, base first
   */
  sealFolder(folder: string, below: readonly DiffID[], options: SealOptions): Promise<SealedLayer> {
    return this.#try(`sealing ${folder}`, async () => {
      const { sealFolder } = await import('./snapshot/seal.js');
      return sealFolder(this.#context, folder, below, options);
    });
  }

  /** The trees of an image's layers, base first. */
  layerTrees(ref: string): Promise<LayerTree[]> {
    return this.shared(async () => {
      const { openTree } = await import('./trees.js');
      const { record } = findImage(this.#context.meta, ref);
      const history = layerHistory(imageConfig(this.#context, record));
      return record.layers.map(({ diffID }, index): LayerTree => {
        const path = this.paths.layerTree(diffID);
        const createdBy = history[index]?.createdBy;
        const { tree } = this.#map(path, openTree);
        return { diffID, path, tree, ...(createdBy === undefined ? {} : { createdBy }) };
      });
    });
  }

  /**
   * The content of a regular file of an image. Symbolic links are followed inside the image.
   * @param path as typed: UTF-8, absolute in the image
   */
  async readFile(
    ref: string,
    path: string,
  ): Promise<{ readonly size: number; readonly content: AsyncIterable<Uint8Array> }> {
    const { tree } = await this.tree(ref);
    const ino = followPath(tree, utf8ToLatin1(path));
    if ((tree.mode(ino) & S_IFMT) === S_IFDIR) throw new LayerfsError('invalid-argument', `${path} is a folder`);
    if ((tree.mode(ino) & S_IFMT) !== S_IFREG) throw new LayerfsError('invalid-argument', `${path} is no regular file`);
    const hex = tree.objectDigest(ino);
    if (hex === undefined) return { size: 0, content: Readable.from([]) };
    return { size: tree.size(ino), content: createReadStream(this.paths.object(hex), { highWaterMark: 512 * 1024 }) };
  }

  /** Runs something short while nothing can be removed from the store. */
  shared<T>(action: () => Promise<T>, options: { readonly signal?: AbortSignal } = {}): Promise<T> {
    return this.#try('using the store', () => this.#context.lock.shared(options.signal, action));
  }

  /** Lets go of the metadata. Trees that were handed out stay valid. */
  async close(): Promise<void> {
    this.#context.meta.close();
    this.#hold.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Long work on an image, which counts as its use. */
  #withImage<T>(
    doing: string,
    ref: string,
    signal: AbortSignal | undefined,
    work: (found: FoundImage) => Promise<T>,
    also: (found: FoundImage) => ImageRecord[] = () => [],
  ): Promise<T> {
    const find = (): Kept<FoundImage> => {
      const found = findImage(this.#context.meta, ref);
      touch(this.#context, [found.record.digest]);
      return { found, keep: { images: [found.record, ...also(found)] } };
    };
    return withKept(this.#context, doing, signal, find, work);
  }

  async #checkoutChain(
    chainID: ChainID,
    diffIDs: readonly DiffID[],
    folder: string,
    options: CheckoutOptions,
  ): Promise<CheckoutResult> {
    const { ensureChain, openTree } = await import('./trees.js');
    const path = await this.#context.lock.shared(options.signal, () => ensureChain(this.#context, chainID, diffIDs));
    const { checkoutTree } = await import('./output/checkout.js');
    // Names become paths here: only a tree that was checked through is good enough.
    const { tree, unmap } = openTree(path, this.#context.xxhash);
    try {
      return await checkoutTree(tree, this.paths, folder, options);
    } finally {
      unmap();
    }
  }

  async #imageTree({ chainID, digest, layers }: ImageRecord, ref: string): Promise<ImageTree> {
    const diffIDs = layers.map(({ diffID }) => diffID);
    const merged = await this.#chainTree(chainID, diffIDs);
    touch(this.#context, [digest]);
    return { ...merged, chainID, diffIDs, image: digest, ref, meanSize: this.#meanSize(diffIDs) };
  }

  /** Call with the store's lock held shared. */
  async #chainTree(chainID: ChainID, diffIDs: readonly DiffID[]): Promise<Pick<ImageTree, 'path' | 'tree'>> {
    const { ensureChain, openTree } = await import('./trees.js');
    const path = ensureChain(this.#context, chainID, diffIDs);
    return { path, tree: this.#map(path, openTree).tree };
  }

  #meanSize(diffIDs: readonly DiffID[]): number {
    let [size, count] = [0, 0];
    for (const diffID of diffIDs) {
      const layer = this.#context.meta.layer(diffID);
      size += layer?.contentSize ?? 0;
      count += layer?.objects ?? 0;
    }
    return count === 0 ? 0 : size / count;
  }

  #map(path: string, openTree: (path: string) => MappedTree): MappedTree {
    let mapped = this.#trees.get(path);
    if (mapped === undefined) {
      mapped = openTree(path);
      this.#trees.set(path, mapped);
    }
    return mapped;
  }

  /** As {@link #try}, with the room that is kept for a full disk. */
  #freeing<T>(doing: string, action: () => Promise<T>): Promise<T> {
    return this.#try(doing, async () => {
      useReserve(this.paths);
      try {
        return await action();
      } finally {
        keepReserve(this.paths);
      }
    });
  }

  async #try<T>(doing: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      throw storeError(error, doing, this.root);
    }
  }
}
