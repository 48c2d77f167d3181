/** What a recorder writes down: everything that changes its folder, in the order in which it took effect. */
import { readFileSync, writeFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';

/** Inodes have numbers that are never used again; the folder itself is 1. Modes are without the file type. */
export type Operation =
  | { op: 'create' | 'mkdir'; id: number; parent: number; name: string; mode: number }
  | { op: 'link' | 'unlink' | 'rmdir'; id: number; parent: number; name: string }
  | { op: 'rename'; id: number; parent: number; name: string; toParent: number; toName: string }
  /** Two names change places; `other` is what `toName` stood for. */
  | { op: 'exchange'; id: number; other: number; parent: number; name: string; toParent: number; toName: string }
  | { op: 'write'; id: number; offset: number; data: Uint8Array }
  | { op: 'size'; id: number; size: number }
  | { op: 'mode'; id: number; mode: number }
  /** fsync(2), fdatasync(2), msync(2), or a write to a file that was opened with O_DSYNC; of a file or a folder. */
  | { op: 'sync'; id: number }
  /** syncfs(2): all before `sync-begin` is durable from `sync-end` with the same number on. */
  | { op: 'sync-begin' | 'sync-end'; number: number }
  /** What the recorded program said of itself. */
  | { op: 'mark'; text: string };

export const ROOT = 1;

export function saveLog(path: string, log: readonly Operation[]): void {
  writeFileSync(path, serialize(log));
}

export function loadLog(path: string): Operation[] {
  return deserialize(readFileSync(path)) as Operation[];
}

/**
 * Names that are looked up in the recorder's folder to tell it something. None of them is ever there.
 */
export const MARK = '.mark:';
export const SYNC_BEGIN = '.sync-begin:';
export const SYNC_END = '.sync-end:';
/** `.fault:AT:ERRNO:HOW`, see {@link Fault}. */
export const FAULT = '.fault:';
/** Writes the log out. */
export const SAVE = '.save';
/** A file after all: its size is the number of requests since the last plan that it could have let fail. */
export const COUNT = '.count';
