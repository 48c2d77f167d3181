import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import type { Digest } from '../../core/digest.js';
import type { RegistryReference } from '../../registry/address.js';
import type { UploadMemory } from '../../registry/upload/upload.js';
import { isAt } from '../locks.js';

/** Files of uploads in the ingest folder. */
export const UPLOAD = /^upload-[0-9a-f]{64}$/;

const MOST = 64 << 10;

/**
 * Where a registry keeps what it has got of a blob: an address in a file of its own in the ingest folder, which stays when the push
 * fails or its process dies. The registry says itself how much it has, and verifies all of it in the end.
 */
export class KeptUpload implements UploadMemory {
  readonly #path: string;
  readonly #fd: number;
  #done = false;

  private constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  /** Undefined while another one is at it. */
  static take(ingest: string, { host, repository }: RegistryReference, digest: Digest): KeptUpload | undefined {
    const name = createHash('sha256').update(`${host}/${repository}@${digest}`).digest('hex');
    const path = join(ingest, `upload-${name}`);
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    let kept: KeptUpload | undefined;
    try {
      // Its holder removes it when it is done.
      if (tryFlock(fd, LOCK.EX) && isAt(fd, path)) kept = new KeptUpload(path, fd);
      return kept;
    } finally {
      if (kept === undefined) closeSync(fd);
    }
  }

  read(): string | undefined {
    const { size } = fstatSync(this.#fd);
    if (size === 0 || size > MOST) return undefined;
    const bytes = Buffer.alloc(size);
    return bytes.toString('utf8', 0, readSync(this.#fd, bytes, 0, size, 0));
  }

  write(location: string | undefined): void {
    this.#done = location === undefined;
    ftruncateSync(this.#fd, 0);
    // One that was written in part is an address that the registry does not know.
    if (location !== undefined && location.length <= MOST) writeSync(this.#fd, location, 0);
  }

  /** Lets others have it. Nothing is left of one that is done. */
  release(): void {
    if (this.#done || fstatSync(this.#fd).size === 0) unlinkSync(this.#path);
    closeSync(this.#fd);
  }
}
