/** A store-like source for mounting, made of one tree written by hand: mounts are tested without import and store. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRequire } from 'node:module';
import type { MountableImage, MountSource } from '../../packages/layerfs/dist/mount/prepare.js';
import { TreeBuilder } from '../../packages/layerfs/dist/core/tree/builder.js';
import { Tree } from '../../packages/layerfs/dist/core/tree/tree.js';
import type { Xxh64 } from '../../packages/layerfs/dist/core/tree/hash.js';

// The hash is a dependency of the package under test, not of the tests.
const require = createRequire(new URL('../../packages/layerfs/package.json', import.meta.url));
const xxhash = require('xxhash-wasm') as () => Promise<Xxh64>;

/** What one entry is. */
export interface Entry {
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtimeSec?: number;
  readonly mtimeNsec?: number;
  readonly rdev?: number;
  readonly content?: Uint8Array | string;
  readonly target?: string;
  readonly xattrs?: readonly (readonly [string, Uint8Array])[];
}

export class TreeSource implements MountSource {
  readonly folder = mkdtempSync(join(tmpdir(), 'layerfs-mount-'));
  readonly root = join(this.folder, 'store');
  readonly paths = { objects: join(this.root, 'objects') };
  readonly builder = new TreeBuilder();
  readonly #file = join(this.root, 'tree');
  readonly #inodes = new Map<string, number>([['', 1]]);
  #mounts = 0;

  constructor() {
    mkdirSync(this.paths.objects, { recursive: true });
  }

  snapshots(): never[] {
    return [];
  }

  createSnapshot(): never {
    throw new Error('a tree by itself has no snapshots');
  }

  snapshotTree(): never {
    throw new Error('a tree by itself has no snapshots');
  }

  /** Adds an entry; its folder must be there. Names are byte strings. */
  add(path: string, entry: Entry): this {
    const ino = this.builder.addInode({ uid: 0, gid: 0, mtimeSec: 0, ...entry });
    if (entry.target !== undefined) this.builder.setSymlink(ino, entry.target);
    if (entry.content !== undefined && entry.content.length > 0) {
      const bytes = Buffer.from(entry.content);
      this.builder.setContent(ino, this.builder.addObject(this.#object(bytes)), bytes.length);
    }
    this.#link(path, ino);
    return this;
  }

  /** Adds one more name. */
  hardlink(path: string, to: string): this {
    this.#link(path, this.#inode(to));
    return this;
  }

  /** The builder's number of an entry, for hard links. */
  #inode(path: string): number {
    return this.#inodes.get(path) ?? 0;
  }

  /** What stat must show as inode number; once finished. */
  ino(path: string): number {
    return Tree.open(this.bytes()).resolve(path);
  }

  /** The tree file; once finished. */
  bytes(): Buffer {
    return readFileSync(this.#file);
  }

  /** Writes the tree; nothing can be added any more. */
  async finish(): Promise<this> {
    writeFileSync(this.#file, this.builder.finish({ layers: [new Uint8Array(32)], hash: await xxhash() }));
    return this;
  }

  /** The file of an object. */
  objectFile(content: Uint8Array | string): string {
    const hex = createHash('sha256').update(content).digest('hex');
    return join(this.paths.objects, hex.slice(0, 2), hex.slice(2));
  }

  newFolder(): string {
    const path = join(this.folder, `mnt-${String(this.#mounts++)}`);
    mkdirSync(path);
    return path;
  }

  tree(ref: string): Promise<MountableImage> {
    const digest = `sha256:${'0'.repeat(64)}`;
    return Promise.resolve({ ref, image: digest, chainID: digest, diffIDs: [digest], path: this.#file, meanSize: 0 });
  }

  shared<T>(action: () => Promise<T>): Promise<T> {
    return action();
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #link(path: string, ino: number): void {
    const slash = path.lastIndexOf('/');
    this.builder.link(this.#inode(path.slice(0, Math.max(0, slash))), path.slice(slash + 1), ino);
    this.#inodes.set(path, ino);
  }

  #object(bytes: Uint8Array): Uint8Array {
    const file = this.objectFile(bytes);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, bytes, { mode: 0o444, flag: 'w' });
    return createHash('sha256').update(bytes).digest();
  }
}
