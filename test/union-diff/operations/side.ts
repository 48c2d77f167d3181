/** One mount as operations see it: the top of a work folder, and the descriptors that are kept open. */
import * as fs from 'node:fs';
import { ErrnoError, errno } from '@layerfs/linux';

export const SLOTS = 8;
export const MAX_LENGTH = 400 * 1024;

/** Latin1 to bytes. */
export const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

/** `ENOENT` for any error that a system call may give; other errors are this program's own and are thrown. */
export function errorName(error: unknown): string {
  if (error instanceof ErrnoError) return error.code;
  if (error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string') {
    return error.code;
  }
  throw error;
}

export class Side {
  /** Latin1. */
  readonly top: string;
  /** For what is read. */
  readonly buffer = Buffer.alloc(MAX_LENGTH);
  readonly #slots = new Map<number, number>();

  constructor(top: string) {
    this.top = top;
  }

  path(relative: string): Buffer {
    return bytes(relative === '' ? this.top : `${this.top}/${relative}`);
  }

  /** The open descriptor of a slot; a slot without one is as good as a wrong descriptor. */
  fd(slot: number): number {
    const fd = this.#slots.get(slot);
    if (fd === undefined) throw new ErrnoError(errno.EBADF, 'slot');
    return fd;
  }

  /** Closes what the slot had. */
  keep(slot: number, fd: number): void {
    const old = this.#slots.get(slot);
    this.#slots.set(slot, fd);
    if (old !== undefined) fs.closeSync(old);
  }

  drop(slot: number): void {
    const fd = this.fd(slot);
    this.#slots.delete(slot);
    fs.closeSync(fd);
  }

  closeAll(): void {
    for (const slot of this.#slots.keys()) this.drop(slot);
  }

  /** What a path or a slot stands for, as calls on extended attributes take it. */
  target(target: string | number): Uint8Array | number {
    return typeof target === 'number' ? this.fd(target) : this.path(target);
  }
}
