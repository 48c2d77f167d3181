import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  ErrnoError,
  MNT,
  close,
  mountMapped,
  moveMount,
  openTreeClone,
  umount2,
  withUserNamespace,
} from '@layerfs/linux';
import { LayerfsError } from 'layerfs';
import { rangesOf, type IdMaps } from '../labels/id-maps.js';

/**
 * Lowers as containers see them whose user namespaces have other ids:
 *
 *     ROOT/mapped/MAP/NAME  idmapped mount of what the snapshotter calls NAME: a chain, or `s`, the folders of all snapshots
 *
 * MAP: 16 hex digits that tell maps apart. They are made again when they are gone, as after a reboot.
 */
export class MappedMounts {
  readonly #folder: string;

  /** @param folder is made when it is needed */
  constructor(folder: string) {
    this.#folder = folder;
  }

  path(maps: IdMaps, name: string): string {
    return join(this.#folder, this.nameOf(maps, name));
  }

  /** What a mount is counted as. */
  nameOf({ uids, gids }: IdMaps, name: string): string {
    const map = createHash('sha256')
      .update(JSON.stringify([uids, gids]))
      .digest('hex')
      .slice(0, 16);
    return join(map, name);
  }

  /** Whether it shows `source` at this moment. */
  isReady(maps: IdMaps, name: string, source: string): boolean {
    const shown = statSync(this.path(maps, name), { throwIfNoEntry: false, bigint: true });
    if (shown === undefined) return false;
    const { dev, ino } = statSync(source, { bigint: true });
    return shown.dev === dev && shown.ino === ino;
  }

  /** Makes it, unless it is there. @throws LayerfsError failed-precondition where the kernel cannot */
  ensure(maps: IdMaps, name: string, source: string): void {
    if (this.isReady(maps, name, source)) return;
    const path = this.path(maps, name);
    this.#unmount(path);
    const { uids, gids } = rangesOf(maps);
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      withUserNamespace(uids, gids, (namespace) => {
        const clone = openTreeClone(source);
        try {
          mountMapped(clone, namespace);
          moveMount(clone, path);
        } finally {
          close(clone);
        }
      });
    } catch (error) {
      this.#unmount(path);
      if (!(error instanceof Error) || !('code' in error)) throw error;
      throw new LayerfsError(
        'failed-precondition',
        `The labels containerd.io/snapshot/uidmapping and gidmapping ask for other owners (${uids.length} and ${gids.length} ranges), which the kernel cannot show of ${source}: ${error.message}`,
        { cause: error },
      );
    }
  }

  /** Takes away one that nobody needs. Mounts that stand on it go on. */
  release(name: string): void {
    this.#unmount(join(this.#folder, name));
  }

  #unmount(path: string): void {
    try {
      umount2(path, MNT.DETACH | MNT.NOFOLLOW);
    } catch (error) {
      // Not there, or not mounted.
      if (!(error instanceof ErrnoError) || !['EINVAL', 'ENOENT'].includes(error.code)) throw error;
    }
    // Never recursively: it would be what is shown that goes.
    if (statSync(path, { throwIfNoEntry: false }) !== undefined) rmdirSync(path);
  }

  /** Names of all that are there. */
  all(): string[] {
    const entries = (folder: string): string[] =>
      statSync(folder, { throwIfNoEntry: false }) === undefined ? [] : readdirSync(folder);
    return entries(this.#folder).flatMap((map) => entries(join(this.#folder, map)).map((name) => join(map, name)));
  }
}
