import { lstatSync, readdirSync } from 'node:fs';
import { isErrno } from '../errors.js';

/** What a folder takes on the disk. */
export interface DiskUsage {
  /** As du(1) counts them: blocks, files with several names once. */
  readonly bytes: number;
  /** Names in it, at any depth. */
  readonly entries: number;
}

const SLASH = Buffer.from('/');

/** What a folder takes on the disk, itself included. What goes meanwhile is left out. */
export function folderUsage(root: string): DiskUsage {
  const linked = new Set<bigint>();
  let blocks = lstatSync(root, { bigint: true, throwIfNoEntry: false })?.blocks ?? 0n;
  let entries = 0;
  const left = [Buffer.from(root)];
  for (let folder = left.pop(); folder !== undefined; folder = left.pop()) {
    for (const name of namesOfFolder(folder)) {
      const path = Buffer.concat([folder, SLASH, name]);
      const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
      if (stats === undefined) continue;
      entries++;
      if (stats.isDirectory()) left.push(path);
      else if (stats.nlink > 1n && linked.has(stats.ino)) continue;
      else if (stats.nlink > 1n) linked.add(stats.ino);
      blocks += stats.blocks;
    }
  }
  return { bytes: Number(blocks) * 512, entries };
}

/** Bytes that the removal of a folder of plain files gives back: those of files with another name elsewhere are not among them. */
export function freeableBytes(root: string): number {
  return new Freeable().folder(root);
}

/** Adds up what removals of several folders give back: a file counts with the last of its names. */
export class Freeable {
  /** Names that go, by inode. */
  readonly #names = new Map<number, number>();

  folder(root: string): number {
    let blocks = lstatSync(root, { throwIfNoEntry: false })?.blocks ?? 0;
    for (const name of namesOfFolder(Buffer.from(root))) {
      const stats = lstatSync(Buffer.concat([Buffer.from(root), SLASH, name]), { throwIfNoEntry: false });
      if (stats === undefined) continue;
      const names = (this.#names.get(stats.ino) ?? 0) + 1;
      this.#names.set(stats.ino, names);
      if (names >= stats.nlink) blocks += stats.blocks;
    }
    return blocks * 512;
  }
}

function namesOfFolder(folder: Buffer): Buffer[] {
  try {
    return readdirSync(folder, { encoding: 'buffer' });
  } catch (error) {
    // Gone since it was listed, or a folder of another mode in a store without root.
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return [];
    throw error;
  }
}

/** What a file takes on the disk; 0 where there is none. */
export function blocksOf(path: string): number {
  return (lstatSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
}
