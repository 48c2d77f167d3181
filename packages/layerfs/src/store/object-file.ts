import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Aligned runs of zeros of this many bytes become holes. */
export const HOLE = 64 * 1024;
export const ZEROS = Buffer.alloc(HOLE);

/** Where an object waits in an ingest folder: in folders like those of the store, which can be moved as a whole. */
export function ingestPlace(folder: string, hex: string): string {
  return `${folder}/${hex.slice(0, 2)}/${hex.slice(2)}`;
}

/**
 * Writes one object into an ingest folder, unless it or the store has it. Returns whether it was written.
 * The file is read-only from the start.
 */
export function writeObject(folder: string, objects: string, hex: string, bytes: Uint8Array): boolean {
  if (existsSync(`${objects}/${hex.slice(0, 2)}/${hex.slice(2)}`)) return false;
  const place = ingestPlace(folder, hex);
  let fd: number;
  try {
    fd = openSync(place, 'wx', 0o444);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (code !== 'ENOENT') throw error;
    mkdirSync(join(folder, hex.slice(0, 2)), { recursive: true, mode: 0o700 });
    fd = openSync(place, 'wx', 0o444);
  }
  try {
    writeWithHoles(fd, bytes, 0);
    if (bytes.length >= HOLE) ftruncateSync(fd, bytes.length);
  } finally {
    closeSync(fd);
  }
  return true;
}

/** Writes bytes at a file offset, leaving out aligned runs of zeros. The file's end is set by the caller. */
export function writeWithHoles(fd: number, bytes: Uint8Array, offset: number): void {
  let start = 0;
  for (let at = -offset & (HOLE - 1); at + HOLE <= bytes.length; at += HOLE) {
    if (bytes[at] !== 0 || ZEROS.compare(bytes, at, at + HOLE) !== 0) continue;
    writeAll(fd, bytes, start, at, offset);
    start = at + HOLE;
  }
  writeAll(fd, bytes, start, bytes.length, offset);
}

function writeAll(fd: number, bytes: Uint8Array, start: number, end: number, offset: number): void {
  for (let at = start; at < end;) at += writeSync(fd, bytes, at, end - at, offset + at);
}
