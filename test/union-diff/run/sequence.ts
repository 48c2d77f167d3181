/** Runs one sequence on both sides and compares as it goes. */
import { AT, AT_FDCWD, ErrnoError, statx } from '@layerfs/linux';
import { hasMachineIds } from '@layerfs/linux/initial-namespace';
import { execute } from '../operations/execute.js';
import type { Side } from '../operations/side.js';
import { pathsOf, type Operation } from '../operations/operation.js';
import type { Promises } from './tree.js';
import { wantedDifference } from './wanted.js';

/** Where operations come from: made as the sequence runs, or a list. */
export interface Source {
  next(): Operation | undefined;
  /** What the reference answered. */
  learn(operation: Operation, outcome: string): void;
}

export type Stage =
  'operation' | 'inode number' | 'tree' | 'invariant' | 'remount' | 'upper by kernel' | 'mounting again' | 'concurrent';

export interface Failure {
  readonly stage: Stage;
  /** For the reader. */
  readonly text: string;
  /** Equal for failures that are probably the same one; the shrinker keeps to it. */
  readonly signature: string;
}

export interface SequenceResult {
  /** Those that were run. */
  readonly operations: readonly Operation[];
  readonly failure?: Failure;
  /** Why the sequence ended early without a failure. */
  readonly ended?: string;
}

/** Told of each operation before it runs, so that somebody can say which one never returned. */
export type Progress = (side: 'reference' | 'subject', index: number, operation: Operation) => void;

const CHANGE_INODES = new Set(['chmod', 'chown', 'utimes', 'setxattr', 'removexattr', 'truncate', 'writefile', 'link']);

function inoOf(side: Side, path: string): number | undefined {
  try {
    return statx(AT_FDCWD, side.path(path), AT.SYMLINK_NOFOLLOW).ino;
  } catch (error) {
    if (error instanceof ErrnoError) return undefined;
    throw error;
  }
}

/** Runs on the subject and watches that inode numbers stay with their files. */
function runWatched(side: Side, operation: Operation): { outcome: string; complaint?: string } {
  const renames = operation.kind === 'rename';
  if (!renames && !CHANGE_INODES.has(operation.kind)) return { outcome: execute(side, operation) };
  const paths = pathsOf(operation);
  const before = paths.map((path) => inoOf(side, path));
  const outcome = execute(side, operation);
  if (renames && outcome !== 'ok') return { outcome };
  const [from, to] = paths;
  const expected: [string, number | undefined][] = renames
    ? [[to, before[0]], ...(operation.flags === 2 ? [[from, before[1]] as [string, number | undefined]] : [])]
    : [[from, before[0]]];
  for (const [path, ino] of expected) {
    const after = inoOf(side, path);
    if (ino === undefined || after === undefined || ino === after) continue;
    return { outcome, complaint: `st_ino of ${JSON.stringify(path)} was ${String(ino)}, is ${String(after)}` };
  }
  return { outcome };
}

/** `ENOENT`, `ok`, or the name of the first field that differs. */
export function outcomeClass(reference: string, subject: string): string {
  const [a, b] = [reference.split(' '), subject.split(' ')];
  if (a[0] !== b[0]) return `${a[0]}/${b[0]}`;
  const at = a.findIndex((field, index) => field !== b[index]);
  return (a[at] ?? '').replace(/=.*/s, '');
}

export function runSequence(
  reference: Side,
  subject: Side,
  source: Source,
  promises: Promises,
  progress: Progress,
): SequenceResult {
  const operations: Operation[] = [];
  try {
    for (let operation = source.next(); operation !== undefined; operation = source.next()) {
      // Overlayfs without an index makes another file of a lower's when it gets a name.
      if ((operation.kind === 'link' || operation.kind === 'linkfd') && !hasMachineIds()) continue;
      operations.push(operation);
      const index = operations.length - 1;
      progress('reference', index, operation);
      const expected = execute(reference, operation);
      // Overlayfs without redirects leaves folders of lowers where they are. The union does not, and is not asked.
      if (expected === 'EXDEV' && operation.kind === 'rename' && !hasMachineIds()) {
        source.learn(operation, expected);
        continue;
      }
      progress('subject', index, operation);
      const { outcome, complaint } = promises.stableIno
        ? runWatched(subject, operation)
        : { outcome: execute(subject, operation), complaint: undefined };
      source.learn(operation, expected);
      if (expected !== outcome) {
        const wanted = wantedDifference(operation, expected, outcome);
        if (wanted?.ends === true) return { operations, ended: wanted.why };
        if (wanted === undefined) {
          const text = `reference: ${expected}\n  subject:   ${outcome}`;
          const signature = `${operation.kind} ${outcomeClass(expected, outcome)}`;
          return { operations, failure: { stage: 'operation', text, signature } };
        }
      }
      if (complaint !== undefined) {
        const failure: Failure = { stage: 'inode number', text: complaint, signature: operation.kind };
        return { operations, failure };
      }
    }
    return { operations };
  } finally {
    reference.closeAll();
    subject.closeAll();
  }
}
