/** Snapshots mounted as containerd mounts them, and layers unpacked into them. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { MNT, MS, mount, umount2 } from '@layerfs/linux';
import type { Mount, Snapshotter } from '../../packages/snapshotter/dist/index.js';

/** What mount(2) takes of options: a page. */
const PAGE = 4096;

/** The mounts of one test. */
export class SnapshotMounts {
  readonly #work: string;
  readonly #root: string;
  readonly #mounted: string[] = [];

  /**
   * @param work a folder for the mountpoints
   * @param root the snapshotter's folder
   */
  constructor(work: string, root: string) {
    this.#work = work;
    this.#root = root;
  }

  /** By one mount(2) call. @returns the mountpoint */
  mount([{ type, source, options }]: readonly Mount[]): string {
    const target = join(this.#work, `mounted-${this.#mounted.length}-${Math.random().toString(36).slice(2)}`);
    mkdirSync(target);
    if (type === 'bind') {
      mount(source, target, '', MS.BIND | MS.REC);
      if (options.includes('ro')) mount('', target, '', MS.BIND | MS.REMOUNT | MS.RDONLY);
    } else if (options.join().length >= PAGE) this.#mountShortened(source, target, type, options);
    else mount(source, target, type, 0, options.join(','));
    this.#mounted.push(target);
    return target;
  }

  /** As containerd does it where there are too many lowers for a page: with paths relative to their common folder. */
  #mountShortened(source: string, target: string, type: string, options: readonly string[]): void {
    const shorter = options.map((option) =>
      option.startsWith('lowerdir=') ? option.replaceAll(`${this.#root}/`, '') : option,
    );
    const before = process.cwd();
    process.chdir(this.#root);
    try {
      mount(source, target, type, 0, shorter.join(','));
    } finally {
      process.chdir(before);
    }
  }

  unmount(target: string): void {
    umount2(target, 0);
    this.#mounted.splice(this.#mounted.indexOf(target), 1);
  }

  /** Unmounts what a test left. */
  release(): void {
    for (const target of this.#mounted.splice(0).toReversed()) umount2(target, MNT.DETACH);
  }

  /** Unpacks a layer as containerd does, and commits it. */
  async unpack(
    snapshotter: Snapshotter,
    name: string,
    parent: string | undefined,
    fill: (folder: string) => void,
  ): Promise<void> {
    const folder = this.mount(await snapshotter.prepare(`unpack ${name}`, parent));
    fill(folder);
    this.unmount(folder);
    await snapshotter.commit(name, `unpack ${name}`);
  }
}
