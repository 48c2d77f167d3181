import { closeSync, constants, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { LayerfsError } from '../../core/error.js';
import type { StorePaths } from '../paths.js';
import { isErrno } from '../errors.js';
import { isMountedAnywhere, kernelMountLives, type KernelMark } from '../kernel-mounts.js';

/** A mount that needs its image's files. */
export interface Pin {
  readonly mountpoint: string;
  /** Manifest digest. */
  readonly image: string;
  readonly chainID: string;
  readonly layers: readonly string[];
  /** Name of the snapshot that is mounted; undefined for a read-only mount. */
  readonly snapshot?: string;
}

/**
 * The living mounts of a store. A registry entry lives while its server holds a lock on it, or while the kernel serves its mount.
 * @throws LayerfsError failed-precondition for a living entry that cannot be read: then nothing may be removed
 */
export function readPins(paths: StorePaths): Pin[] {
  const pins: Pin[] = [];
  for (const name of readdirSync(paths.mounts)) {
    if (!name.endsWith('.json')) continue;
    let fd: number;
    try {
      fd = openSync(join(paths.mounts, name), constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      // Unmounted between the listing and now.
      if (isErrno(error, 'ENOENT')) continue;
      throw error;
    }
    try {
      if (!tryFlock(fd, LOCK.SH)) pins.push(parsePin(readFileSync(fd, 'utf8'), name));
      else {
        const pin = kernelPin(paths.mounts, readFileSync(fd, 'utf8'), name);
        if (pin !== undefined) pins.push(pin);
      }
    } finally {
      closeSync(fd);
    }
  }
  return pins;
}

function parsePin(text: string, name: string): Pin {
  try {
    const { mountpoint, image, chainID, layers, snapshot } = JSON.parse(text) as Partial<Pin>;
    if (
      typeof mountpoint === 'string' &&
      typeof image === 'string' &&
      typeof chainID === 'string' &&
      Array.isArray(layers)
    ) {
      return { mountpoint, image, chainID, layers, ...(typeof snapshot === 'string' ? { snapshot } : {}) };
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new LayerfsError('failed-precondition', `mount entry ${name} is in use but cannot be read: nothing is removed`);
}

/** The pin of a mount that has no server, if it is one that the kernel serves. */
function kernelPin(folder: string, text: string, name: string): Pin | undefined {
  const id = name.slice(0, -'.json'.length);
  let mark: KernelMark | undefined;
  try {
    mark = (JSON.parse(text) as { kernel?: KernelMark } | null)?.kernel;
  } catch (error) {
    // Of a server that is gone, whatever it was.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (mark === undefined || !kernelMountLives(folder, id, mark)) return undefined;
  const { snapshot, ...pin } = parsePin(text, name);
  // Other mounts of the same image keep its layers; the snapshot is mounted only where this one is.
  const mounted = mark.detached === true || isMountedAnywhere(id);
  return { ...pin, ...(snapshot === undefined || !mounted ? {} : { snapshot }) };
}
