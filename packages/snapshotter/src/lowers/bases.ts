import { mkdirSync, readdirSync, renameSync, rmdirSync, statSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { ErrnoError, MNT, close, openat, syncfsAsync, umount2, AT_FDCWD, O } from '@layerfs/linux';
import { LayerfsError, mountErofs, spawnServer, type ChainID, type MountSource, type Stack, type Store } from 'layerfs';

/** How layers of the store are shown as one lower. */
export type BaseKind = 'erofs' | 'folder' | 'fuse';

/** Those that are mounts. */
const MOUNTED = ['erofs', 'fuse'] as const;
/** FUSE_SUPER_MAGIC. */
const FUSE = 0x65735546;

/** Layers of the store as the lowest part of a snapshot. */
export interface Base extends Stack {
  readonly kind: BaseKind;
}

/**
 * The lowers that show layers of the store:
 *
 *     ROOT/erofs/CHAIN    mount of the EROFS image of the merged tree; content comes from the store's objects
 *     ROOT/fuse/CHAIN     FUSE mount of the merged tree, with a process of its own that serves it
 *     ROOT/checkout/CHAIN the merged tree as plain files
 *
 * CHAIN: the first 32 hex digits of the chainID. Mounts stay when the process ends, and are made again when they are gone.
 */
export class Bases {
  readonly #store: Store;
  readonly #folders: Readonly<Record<BaseKind, string>>;
  readonly #staging: string;
  readonly #underway = new Map<string, Promise<void>>();
  /** Chains that no kernel mount can show. */
  readonly #plainOnly = new Set<string>();
  readonly #kind: BaseKind;

  /** @param staging gets what is being made */
  constructor(root: string, staging: string, store: Store, kind: BaseKind) {
    this.#store = store;
    this.#kind = kind;
    this.#staging = staging;
    this.#folders = { erofs: join(root, 'erofs'), folder: join(root, 'checkout'), fuse: join(root, 'fuse') };
    for (const folder of Object.values(this.#folders)) mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** The best way to show a stack; `plain`: without data-only layers. */
  of({ chainID, diffIDs }: Stack, plain = false): Base {
    const kind = plain || this.#plainOnly.has(chainID) ? 'folder' : this.#kind;
    return { kind, chainID, diffIDs };
  }

  /** The folder that shows it. */
  path({ kind, chainID }: Pick<Base, 'kind' | 'chainID'>): string {
    return join(this.#folders[kind], nameOf(chainID));
  }

  /** Where its files have their content from, if not there. */
  objects({ kind }: Base): string | undefined {
    return kind === 'erofs' ? this.#store.paths.objects : undefined;
  }

  /** Whether it is there at this moment. */
  isReady(base: Base): boolean {
    const { kind } = base;
    if (kind === 'fuse') return this.#isServed(this.path(base));
    const stats = statSync(this.path(base), { throwIfNoEntry: false });
    if (stats === undefined) return false;
    return kind === 'folder' || stats.dev !== statSync(this.#folders[kind]).dev;
  }

  /** Whether a server answers there: attributes the kernel would know without it. */
  #isServed(path: string): boolean {
    try {
      return statfsSync(path).type === FUSE;
    } catch (error) {
      // Not made yet, or left by a server that died.
      if (['ENOENT', 'ENOTCONN'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
      throw error;
    }
  }

  /**
   * Makes it, unless it is there.
   * @returns false when this kind of base cannot show the stack
   */
  async ensure(base: Base): Promise<boolean> {
    const path = this.path(base);
    try {
      while (!this.isReady(base)) {
        let work = this.#underway.get(path);
        if (work === undefined) {
          work = this.#make(base, path).finally(() => this.#underway.delete(path));
          this.#underway.set(path, work);
        }
        await work;
      }
      return true;
    } catch (error) {
      if (base.kind !== 'erofs' || !(error instanceof LayerfsError) || error.code !== 'unimplemented') throw error;
      this.#plainOnly.add(base.chainID);
      return false;
    }
  }

  async #make(base: Base, path: string): Promise<void> {
    if (base.kind === 'folder') return this.#checkOut(base, path);
    if (base.kind === 'fuse') return this.#serve(base, path);
    // Nothing takes the image away before it is mounted, and afterwards the kernel has it open.
    await this.#store.shared(async () => {
      const image = await this.#store.erofsImage(base);
      mkdirSync(path, { recursive: true, mode: 0o700 });
      if (!this.isReady(base)) mountErofs(image, path);
    });
  }

  async #serve(base: Base, path: string): Promise<void> {
    const store = this.#store;
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    } catch (error) {
      // What a server left that died: mounting anew takes it away.
      if ((error as NodeJS.ErrnoException).code !== 'ENOTCONN') throw error;
    }
    const never = (): never => {
      throw new LayerfsError('internal', 'A base is never writable');
    };
    const source: MountSource = {
      root: store.root,
      paths: store.paths,
      tree: () => store.stackTree(base),
      snapshots: () => [],
      createSnapshot: never,
      snapshotTree: never,
      shared: (action) => store.shared(action),
    };
    // What a container may do with devices and set-user-ID files, its own mounts say.
    await spawnServer(source, base.chainID, path, { allowDevices: true, allowSetuid: true });
  }

  async #checkOut(base: Base, path: string): Promise<void> {
    const staged = join(this.#staging, `new-${nameOf(base.chainID)}-${process.hrtime.bigint().toString(36)}`);
    await this.#store.checkoutStack(base, staged);
    const fd = openat(AT_FDCWD, staged, O.RDONLY | O.DIRECTORY);
    try {
      // Its name is the promise that all of it is there.
      await syncfsAsync(fd);
    } finally {
      close(fd);
    }
    renameSync(staged, path);
  }

  /** Lets go of all that shows a chain. Mounts that stand on it go on. @returns folders to be removed */
  release(chain: string): string[] {
    this.unmount(chain);
    const folder = join(this.#folders.folder, chain);
    return statSync(folder, { throwIfNoEntry: false }) === undefined ? [] : [folder];
  }

  /** Takes away the mounts of a chain. */
  unmount(chain: string): void {
    for (const kind of MOUNTED) {
      const mounted = join(this.#folders[kind], chain);
      // Somebody needs it, after all.
      if (this.#underway.has(mounted)) continue;
      try {
        umount2(mounted, MNT.DETACH | MNT.NOFOLLOW);
      } catch (error) {
        // Not there, or not mounted.
        if (!(error instanceof ErrnoError) || !['EINVAL', 'ENOENT'].includes(error.code)) throw error;
      }
      if (statSync(mounted, { throwIfNoEntry: false }) !== undefined) rmdirSync(mounted);
    }
  }

  /** Names of all chains that something is there of. */
  all(): Set<string> {
    return new Set(Object.values(this.#folders).flatMap((folder) => readdirSync(folder)));
  }
}

/** How files and folders call a chain. */
export function nameOf(chainID: ChainID): string {
  return chainID.slice(chainID.indexOf(':') + 1).slice(0, 32);
}
