import { closeSync, existsSync, mkdirSync, openSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { hasMachineIds } from '@layerfs/linux/initial-namespace';
import { digestHex, type ChainID, type Digest, type DiffID } from '../core/digest.js';
import { LayerfsError } from '../core/error.js';

/**
 * Where a store is when nobody says: $LAYERFS_ROOT, else root's /var/lib/layerfs or the user's data folder. Who is root only in
 * a user namespace of their own has the same store there as outside.
 */
export function defaultRoot(): string {
  const { LAYERFS_ROOT, XDG_DATA_HOME } = process.env;
  if (LAYERFS_ROOT !== undefined && LAYERFS_ROOT !== '') return LAYERFS_ROOT;
  if (process.geteuid?.() === 0 && hasMachineIds()) return '/var/lib/layerfs';
  return join(
    XDG_DATA_HOME !== undefined && XDG_DATA_HOME !== '' ? XDG_DATA_HOME : join(homedir(), '.local/share'),
    'layerfs',
  );
}

/** The folders and files of one store (docs/store.md). */
export class StorePaths {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  get objects(): string {
    return join(this.root, 'objects');
  }

  /** An object's file, by the 64 hex digits of its sha256. */
  object(hex: string): string {
    return join(this.objects, hex.slice(0, 2), hex.slice(2));
  }

  get blobs(): string {
    return join(this.root, 'blobs/sha256');
  }

  blob(digest: Digest): string {
    return join(this.blobs, digestHex(digest));
  }

  get layers(): string {
    return join(this.root, 'layers');
  }

  /** A layer's folder: `tree`, `tar` (the tar record) and `objects` (its object list). */
  layer(diffID: DiffID): string {
    return join(this.layers, digestHex(diffID));
  }

  layerTree(diffID: DiffID): string {
    return join(this.layer(diffID), 'tree');
  }

  get chains(): string {
    return join(this.root, 'chains');
  }

  /** A chain's folder; it holds `tree`. */
  chainFolder(chainID: ChainID): string {
    return join(this.chains, digestHex(chainID));
  }

  /** The merged tree of a stack. */
  chainTree(chainID: ChainID): string {
    return join(this.chainFolder(chainID), 'tree');
  }

  /** The EROFS image of the merged tree. */
  chainErofs(chainID: ChainID): string {
    return join(this.chains, digestHex(chainID), 'erofs');
  }

  get meta(): string {
    return join(this.root, 'meta');
  }

  /** SQLite's file (meta.ts). */
  get records(): string {
    return join(this.meta, 'records');
  }

  /** reserve.ts */
  get reserve(): string {
    return join(this.meta, 'reserve');
  }

  get ingest(): string {
    return join(this.root, 'ingest');
  }

  get mounts(): string {
    return join(this.root, 'mounts');
  }

  get snapshots(): string {
    return join(this.root, 'snapshots');
  }

  /** A snapshot's folder, which holds `upper` and `work`. */
  snapshot(id: string): string {
    return join(this.snapshots, id);
  }

  /** What was taken away and is not yet deleted. */
  get trash(): string {
    return join(this.root, 'trash');
  }

  /** A folder; up to version 1 it was a file, and was the lock itself. */
  get locks(): string {
    return join(this.root, 'lock');
  }

  /** The file whose lock is the store's (store-lock.ts). */
  get lock(): string {
    return join(this.locks, 'store');
  }

  /** Held by whoever waits for the store alone. */
  get gate(): string {
    return join(this.locks, 'gate');
  }

  /** Held by whoever collects garbage: one at a time. */
  get collector(): string {
    return join(this.locks, 'collector');
  }

  /** The format version, in decimal. Locked shared by everybody who has the store open. */
  get version(): string {
    return join(this.root, 'version');
  }

  /** Makes the root. @throws LayerfsError permission-denied without access */
  prepareRoot(): void {
    this.#access(() => makeFolder(this.root, 0o755));
  }

  /** Makes what is missing below the root. @throws LayerfsError permission-denied without access */
  prepare(): void {
    const { objects, blobs, layers, chains, snapshots, meta, ingest, mounts, trash, locks } = this;
    this.#access(() => {
      for (const folder of [objects, blobs, layers, chains, snapshots, meta, ingest, mounts, trash, locks]) {
        // Trees and objects of images may hold what only root may read.
        makeFolder(folder, 0o700);
      }
      for (const file of [this.lock, this.gate, this.collector]) closeSync(openSync(file, 'a', 0o600));
    });
  }

  #access(action: () => void): void {
    try {
      action();
    } catch (error) {
      throw accessError(error, this.root);
    }
  }
}

/** What a failure to get at a store's folder means. */
export function accessError(error: unknown, root: string): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new LayerfsError(
      'permission-denied',
      `no right to use the store ${root}: choose another with --root or LAYERFS_ROOT`,
      { cause: error },
    );
  }
  if (code === 'ENOTDIR' || code === 'EEXIST') {
    return new LayerfsError('invalid-argument', `store ${root}: not a folder`, { cause: error });
  }
  return error;
}

// Not mkdirSync's `recursive`: in Node 20 that loops for ever where a folder can have no new ones, as /proc. Others may make
// the same folders meanwhile.
function makeFolder(path: string, mode: number): void {
  for (let again = false; ; again = true) {
    try {
      mkdirSync(path, { mode });
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST' && statSync(path).isDirectory()) return;
      if (code !== 'ENOENT' || again) throw error;
      if (!existsSync(dirname(path))) makeFolder(dirname(path), mode);
    }
  }
}
