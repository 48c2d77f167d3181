import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { digestHex, type ChainID, type Digest, type DiffID } from '../core/digest.js';
import { LayerfsError } from '../core/error.js';

/** format: do not change. Version of the folder layout and of the records in meta/ (docs/store.md). */
const FORMAT_VERSION = 1;

/** Where a store is when nobody says: $LAYERFS_ROOT, else root's /var/lib/layerfs or the user's data folder. */
export function defaultRoot(): string {
  const { LAYERFS_ROOT, XDG_DATA_HOME } = process.env;
  if (LAYERFS_ROOT !== undefined && LAYERFS_ROOT !== '') return LAYERFS_ROOT;
  if (process.geteuid?.() === 0) return '/var/lib/layerfs';
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

  /** The merged tree of a stack. */
  chainTree(chainID: ChainID): string {
    return join(this.chains, digestHex(chainID), 'tree');
  }

  get meta(): string {
    return join(this.root, 'meta');
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

  /** The file whose lock keeps removals out while something is added. */
  get lock(): string {
    return join(this.root, 'lock');
  }

  /**
   * Makes what is missing and checks the format version.
   * @throws LayerfsError failed-precondition for a store of a newer layerfs, permission-denied without access
   */
  prepare(): void {
    try {
      makeFolder(this.root, 0o755);
      const { objects, blobs, layers, chains, snapshots, meta, ingest, mounts } = this;
      for (const folder of [objects, blobs, layers, chains, snapshots, meta, ingest, mounts]) {
        // Trees and objects of images may hold what only root may read.
        makeFolder(folder, 0o700);
      }
      if (!existsSync(this.lock)) writeFileSync(this.lock, '', { flag: 'a', mode: 0o600 });
      const version = join(this.root, 'version');
      if (!existsSync(version)) {
        // Under its name only once it is on disk: without a version nobody may use a store.
        const made = `${version}.${process.pid}`;
        writeFileSync(made, `${FORMAT_VERSION}\n`, { mode: 0o644, flush: true });
        renameSync(made, version);
      }
      const found = readFileSync(version, 'utf8').trim();
      if (found !== String(FORMAT_VERSION)) {
        throw new LayerfsError(
          'failed-precondition',
          `store ${this.root} has format version ${found}, this layerfs knows ${FORMAT_VERSION}: use a newer layerfs`,
        );
      }
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
        throw new LayerfsError(
          'permission-denied',
          `no right to use the store ${this.root}: choose another with --root or LAYERFS_ROOT`,
          { cause: error },
        );
      }
      if (code === 'ENOTDIR' || code === 'EEXIST') {
        throw new LayerfsError('invalid-argument', `store ${this.root}: not a folder`, { cause: error });
      }
      throw error;
    }
  }
}

// Not mkdirSync's `recursive`: in Node 20 that loops for ever where a folder can have no new ones, as /proc.
function makeFolder(path: string, mode: number): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    if (code !== 'ENOENT' || existsSync(dirname(path))) throw error;
    makeFolder(dirname(path), mode);
    mkdirSync(path, { mode });
  }
}
