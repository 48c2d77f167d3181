/** A reference and a subject mounted over the same lowers. */
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ErrnoError, MNT, umount2 } from '@layerfs/linux';
import { CAPABLE, kernel, mountOverlay } from '../subjects/kernel.js';
import type { Lowers, Place, Subject } from '../subjects/subject.js';

/** Mountpoints at or below a folder, the innermost first. */
export function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${folder}/`))
    .toReversed();
}

/** Makes everybody let go who waits for a server that does not answer: such processes cannot even be killed. */
export function abortMounts(folder: string): void {
  for (const mountpoint of mountsBelow(folder)) {
    try {
      umount2(mountpoint, MNT.FORCE);
    } catch (error) {
      // It is aborted all the same.
      if (!(error instanceof ErrnoError)) throw error;
    }
  }
}

/** Takes away all mounts below a folder, also those of dead servers, and the folder. */
export function removeTree(folder: string): void {
  for (const mountpoint of mountsBelow(folder)) umount2(mountpoint, MNT.DETACH);
  rmSync(folder, { recursive: true, force: true });
}

export class Pair {
  readonly folder: string;
  readonly subject: Subject;
  readonly #reference: Place;
  readonly #subject: Place;

  constructor(subject: Subject, lowers: Lowers, folder: string, name: string) {
    this.folder = folder;
    this.subject = subject;
    const place = (side: string): Place => {
      const own = join(folder, side);
      mkdirSync(join(own, 'mnt'), { recursive: true });
      return { folder: own, name, mountpoint: join(own, 'mnt'), lowers };
    };
    this.#reference = place('reference');
    this.#subject = place('subject');
  }

  get referenceRoot(): string {
    return this.#reference.mountpoint;
  }

  get upperByKernelRoot(): string {
    return join(this.folder, 'upper-by-kernel');
  }

  get subjectRoot(): string {
    return this.#subject.mountpoint;
  }

  mount(): void {
    kernel.mount(this.#reference);
    this.subject.mount(this.#subject);
  }

  unmount(): void {
    kernel.unmount(this.#reference);
    this.subject.unmount(this.#subject);
  }

  /** Mounts what the subject wrote by kernel overlayfs; nothing else may be mounted. */
  mountUpperByKernel(): void {
    const { folders } = this.#subject.lowers;
    const upper = this.subject.upper(this.#subject);
    // A work folder of its own, where the kernel wants one: on the filesystem of the upper.
    const work = this.subject.kernelOptions === CAPABLE ? join(upper, '../work') : join(upper, '../work-of-kernel');
    mountOverlay(folders, upper, work, this.upperByKernelRoot, this.subject.kernelOptions);
  }

  unmountUpper(): void {
    umount2(this.upperByKernelRoot);
  }

  /** Where the subject has its upper, for whoever wants to look at it. */
  get upper(): string {
    return this.subject.upper(this.#subject);
  }

  remove(): void {
    removeTree(this.folder);
  }
}
