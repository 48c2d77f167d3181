import { closeSync, constants, fchmodSync, fstatSync, ftruncateSync, openSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { digestHex, type Digest } from '../../core/digest.js';
import { isAt } from '../locks.js';
import { ALIGNMENT } from './direct-file.js';

/** Files of downloads in the ingest folder. */
export const DOWNLOAD = /^download-[0-9a-f]{64}$/;

/**
 * What has come of a blob, in a file of its own in the ingest folder, which stays when the import fails or its process dies: the
 * next one goes on from there. Nothing in it is trusted before the digest of the whole was verified.
 */
export class Download {
  readonly path: string;
  /** How many of the first bytes are there. */
  readonly have: number;
  readonly #fd: number;
  #open = true;

  private constructor(path: string, fd: number, have: number) {
    this.path = path;
    this.#fd = fd;
    this.have = have;
  }

  /** Takes what there is, or begins; undefined while another one is at it. @param size of the blob, in bytes */
  static take(ingest: string, digest: Digest, size: number): Download | undefined {
    const path = join(ingest, `download-${digestHex(digest)}`);
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    let download: Download | undefined;
    try {
      // Its holder moves it to its place when it is complete.
      if (!tryFlock(fd, LOCK.EX) || !isAt(fd, path)) return undefined;
      const there = fstatSync(fd).size;
      const have = there === size ? size : Math.floor(Math.min(there, size) / ALIGNMENT) * ALIGNMENT;
      if (there !== have) ftruncateSync(fd, have);
      download = new Download(path, fd, have);
      return download;
    } finally {
      if (download === undefined) closeSync(fd);
    }
  }

  /** It is complete, and verified. */
  seal(): void {
    fchmodSync(this.#fd, 0o400);
  }

  /** It is worth nothing. */
  drop(): void {
    unlinkSync(this.path);
    this.release();
  }

  release(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}
