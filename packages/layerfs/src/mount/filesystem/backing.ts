import { LRUCache } from 'lru-cache';
import { ErrnoError, close } from '@layerfs/linux';

/** The kernel's side of passthrough: descriptors in, backing ids out (FUSE_DEV_IOC_BACKING_OPEN and _CLOSE). */
export interface BackingIds {
  /** @throws ErrnoError */
  open(fd: number): number;
  close(id: number): void;
}

/** What backing ids are made for. */
export interface Contents {
  /** A new descriptor, for reading. `about` is what `acquire` was told. @throws ErrnoError */
  open(key: number, about: number): number;
}

/**
 * Content of at most so many bytes is read by us and kept in the kernel's cache of the mount: making a backing id costs
 * more than reading it, and it has to be made again for most opens. Above, the kernel reads the object itself, which
 * all mounts and images share.
 */
export const READ_BY_US = 128 * 1024;

interface Use {
  /** 0: opened without passthrough. */
  readonly id: number;
  opens: number;
}

/**
 * Backing ids of objects. The kernel demands that all opens of an inode that are alive at one time name the same
 * backing id, or none of them any; so each object has one `Use` while it is open, which all its opens share.
 * Ids that nobody uses are kept for a while: making one costs an open and two more system calls. What is left at the
 * end goes with the connection.
 */
export class BackingPool {
  readonly #contents: Contents;
  readonly #ids: BackingIds;
  readonly #used = new Map<number, Use>();
  readonly #idle: LRUCache<number, Use>;

  /** @param keep how many unused ids to keep; each holds one file open inside the kernel */
  constructor(contents: Contents, ids: BackingIds, keep: number) {
    this.#contents = contents;
    this.#ids = ids;
    this.#idle = new LRUCache({
      max: keep,
      dispose: (use, _, reason) => {
        // 'delete' is how an id is taken out to be used again.
        if (reason !== 'delete') ids.close(use.id);
      },
    });
  }

  /**
   * One more open of an object.
   * @returns the backing id to name; 0 when this open must go without passthrough
   * @throws ErrnoError EIO when the object is missing or damaged
   */
  acquire(object: number, size: number): number {
    const used = this.#used.get(object);
    if (used !== undefined) {
      used.opens++;
      return used.id;
    }
    let use = this.#idle.get(object);
    if (use === undefined) use = { id: this.#register(object, size), opens: 0 };
    else this.#idle.delete(object);
    use.opens = 1;
    this.#used.set(object, use);
    return use.id;
  }

  /** One open less. */
  release(object: number): void {
    const use = this.#used.get(object);
    if (use === undefined || --use.opens > 0) return;
    this.#used.delete(object);
    if (use.id !== 0) this.#idle.set(object, use);
  }

  /** Objects open now. */
  get size(): number {
    return this.#used.size;
  }

  #register(object: number, size: number): number {
    let fd: number;
    try {
      fd = this.#contents.open(object, size);
    } catch (error) {
      if (error instanceof ErrnoError && (error.code === 'EMFILE' || error.code === 'ENFILE')) return 0;
      throw error;
    }
    try {
      return this.#ids.open(fd);
    } catch (error) {
      // The kernel may refuse one file (limits, an odd filesystem): that one is read through us.
      if (error instanceof ErrnoError) return 0;
      throw error;
    } finally {
      close(fd);
    }
  }
}
