import { lstatSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../errors.js';
import type { Finding } from './problem.js';

/** What a file or folder of a store must be. */
export interface FileClaim {
  readonly type: 'file' | 'folder';
  /** Bits that it must have, and those that it may have. */
  readonly must: number;
  readonly may: number;
  /** Whose it must be; undefined: anybody's. */
  readonly uid: number | undefined;
}

/** Objects: nobody writes to them. */
export const OBJECT_MODE = { type: 'file', must: 0o400, may: 0o444 } as const;
/** Trees, tar records, object lists and blobs. */
export const SEALED_MODE = { type: 'file', must: 0o400, may: 0o444 } as const;
/** Folders that hold what only root may read in an image. */
export const PRIVATE_FOLDER = { type: 'folder', must: 0o700, may: 0o700 } as const;
/** Files that are written to. */
export const OPEN_FILE = { type: 'file', must: 0o600, may: 0o644 } as const;

/**
 * Looks at type, mode and owner. What is not there (any more) is no finding here.
 * @param path below `root`
 */
export function checkFile(root: string, path: string, claim: FileClaim, findings: Finding[]): Stats | undefined {
  let stats: Stats;
  try {
    stats = lstatSync(join(root, path));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    if (!isErrno(error, 'EACCES', 'EIO', 'EUCLEAN', 'ENOTDIR')) throw error;
    findings.push({ kind: 'unreadable', path, expected: `a ${claim.type}`, found: (error as Error).message });
    return undefined;
  }
  if (claim.type === 'file' ? !stats.isFile() : !stats.isDirectory()) {
    findings.push({ kind: 'wrong-type', path, expected: `a ${claim.type}`, found: typeName(stats) });
    return undefined;
  }
  const mode = stats.mode & 0o7777;
  if ((mode & claim.must) !== claim.must || (mode & ~claim.may) !== 0) {
    findings.push({ kind: 'wrong-mode', path, expected: octal(claim.may), found: octal(mode) });
  }
  if (claim.uid !== undefined && stats.uid !== claim.uid) {
    findings.push({ kind: 'wrong-owner', path, expected: `user ${claim.uid}`, found: `user ${stats.uid}` });
  }
  return stats;
}

/** A file mode in octal. */
export function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

function typeName(stats: Stats): string {
  if (stats.isFile()) return 'a file';
  if (stats.isDirectory()) return 'a folder';
  if (stats.isSymbolicLink()) return 'a symbolic link';
  return 'a special file';
}
