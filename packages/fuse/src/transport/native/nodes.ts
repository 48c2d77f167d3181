import { LRUCache } from 'lru-cache';
import { ErrnoError, errno } from '@layerfs/linux';
import { ROOT_ID } from '../../wire/constants.js';
import { entryOf, type Entry } from './answer.js';
import type { Asker } from './asker.js';
import { bytesOf } from './names.js';

const KEEP_FOLDERS = 4096;

/** A path taken apart. */
export interface Place {
  /** nodeid of the folder, held. */
  readonly folder: number;
  /** Bytes as latin1. */
  readonly name: string;
}

/**
 * From libfuse's paths to inodes, as the kernel finds them: name by name. Folders on the way are kept, as the kernel
 * does, until one is moved or removed. Every nodeid that is handed out is held until it is let go.
 */
export class Nodes {
  readonly #asker: Asker;
  /** Lookups that the file system counted, and who still needs the nodeid. */
  readonly #held = new Map<number, { lookups: number; holders: number }>();
  readonly #folders = new LRUCache<string, number>({
    max: KEEP_FOLDERS,
    dispose: (nodeid) => this.letGo(nodeid),
  });

  constructor(asker: Asker) {
    this.#asker = asker;
  }

  /** How many inodes are held. */
  get size(): number {
    return this.#held.size;
  }

  /** An answer that counts as a lookup: its nodeid is held from now on. */
  looked(nodeid: number): void {
    if (nodeid === ROOT_ID) return;
    const held = this.#held.get(nodeid);
    if (held === undefined) this.#held.set(nodeid, { lookups: 1, holders: 1 });
    else {
      held.lookups++;
      held.holders++;
    }
  }

  /** One holder more. */
  hold(nodeid: number): void {
    const held = this.#held.get(nodeid);
    if (held !== undefined) held.holders++;
  }

  /** One holder less; the last one's lookups are given back. */
  letGo(nodeid: number): void {
    const held = this.#held.get(nodeid);
    if (held === undefined || --held.holders > 0) return;
    this.#held.delete(nodeid);
    this.#asker.forget(nodeid, held.lookups);
  }

  /** Forgets where folders are: one was moved or removed. */
  clear(): void {
    this.#folders.clear();
  }

  /** Runs something with the inode at a path. @throws ErrnoError ENOENT */
  async with<T>(path: string, action: (nodeid: number, entry: Entry | undefined) => Promise<T> | T): Promise<T> {
    const found = await this.#fresh(() => this.#find(path));
    try {
      return await action(found.nodeid, 'attr' in found ? found : undefined);
    } finally {
      this.letGo(found.nodeid);
    }
  }

  /** Runs something with the folder of a path and the name in it. @throws ErrnoError ENOENT */
  async within<T>(path: string, action: (place: Place) => Promise<T>): Promise<T> {
    const { parent, name } = split(path);
    const folder = await this.#fresh(() => this.#folder(parent));
    try {
      return await action({ folder, name: bytesOf(name) });
    } finally {
      this.letGo(folder);
    }
  }

  /** A kept folder may be gone: looked for once more. */
  async #fresh<T>(find: () => Promise<T>): Promise<T> {
    try {
      return await find();
    } catch (error) {
      if (!(error instanceof ErrnoError) || error.errno !== errno.ESTALE) throw error;
      this.clear();
      return find();
    }
  }

  async #find(path: string): Promise<Entry | { readonly nodeid: number }> {
    if (path === '/' || path === '') return { nodeid: ROOT_ID };
    const { parent, name } = split(path);
    const folder = await this.#folder(parent);
    try {
      return await this.#look(folder, name);
    } finally {
      this.letGo(folder);
    }
  }

  async #look(folder: number, text: string): Promise<Entry> {
    const name = bytesOf(text);
    const entry = await this.#asker.ask(
      'lookup',
      folder,
      (fs, caller, reply) => fs.lookup(caller, name, reply),
      (answer) => {
        const found = entryOf(answer);
        if (found.nodeid !== 0) this.looked(found.nodeid);
        return found;
      },
      name,
    );
    if (entry.nodeid === 0) throw new ErrnoError(errno.ENOENT, 'lookup');
    return entry;
  }

  async #folder(path: string): Promise<number> {
    if (path === '' || path === '/') return ROOT_ID;
    const known = this.#folders.get(path);
    if (known !== undefined) {
      this.hold(known);
      return known;
    }
    const { parent, name } = split(path);
    const above = await this.#folder(parent);
    try {
      const { nodeid } = await this.#look(above, name);
      // Another request may have been quicker.
      if (this.#folders.get(path) !== nodeid) {
        this.hold(nodeid);
        this.#folders.set(path, nodeid);
      }
      return nodeid;
    } finally {
      this.letGo(above);
    }
  }
}

function split(path: string): { parent: string; name: string } {
  const slash = path.lastIndexOf('/');
  return { parent: path.slice(0, Math.max(slash, 0)), name: path.slice(slash + 1) };
}
