/** Compares two trees path by path; nothing is left out unless an excuse names it with its reason. */
import { snapshot, type Seen, type Snapshot, type SnapshotOptions } from './snapshot.js';

export interface Difference {
  path: string;
  /** A field of `Seen`, or 'exists'. */
  field: keyof Seen | 'exists';
  left: string | undefined;
  right: string | undefined;
}

/** A difference that is known and has a reason. */
export interface Excuse {
  reason: string;
  matches: (difference: Difference) => boolean;
}

const FIELDS: (keyof Seen)[] = [
  'type',
  'mode',
  'owner',
  'size',
  'mtime',
  'target',
  'nlink',
  'group',
  'rdev',
  'xattrs',
  'content',
];

/** All differences of two snapshots, in the order of their paths. */
function differences(left: Snapshot, right: Snapshot): Difference[] {
  const found: Difference[] = [];
  for (const path of [...new Set([...left.keys(), ...right.keys()])].toSorted()) {
    const [a, b] = [left.get(path), right.get(path)];
    if (a === undefined || b === undefined) {
      found.push({ path, field: 'exists', left: a?.type, right: b?.type });
      continue;
    }
    for (const field of FIELDS) {
      if (a[field] !== b[field]) found.push({ path, field, left: a[field], right: b[field] });
    }
  }
  return found;
}

function show(text: string | undefined): string {
  if (text === undefined) return '(none)';
  const quoted = JSON.stringify(text);
  return quoted.length > 160 ? `${quoted.slice(0, 160)}… (${text.length} bytes)` : quoted;
}

/** One line a difference, at most `limit` of them. */
export function report(list: Difference[], names: [left: string, right: string], limit = 40): string {
  const lines = list
    .slice(0, limit)
    .map(
      ({ path, field, left, right }) =>
        `${show(path)}: ${field}: ${names[0]} ${show(left)}, ${names[1]} ${show(right)}`,
    );
  if (list.length > limit) lines.push(`… and ${list.length - limit} more`);
  return lines.join('\n');
}

export interface Comparison {
  paths: number;
  /** What no excuse matches. */
  unexplained: Difference[];
  /** How many differences each excuse took, by its reason. */
  excused: Map<string, number>;
}

/** Sorts differences into excused and unexplained. */
export function judge(left: Snapshot, right: Snapshot, excuses: Excuse[] = []): Comparison {
  const excused = new Map<string, number>(excuses.map((excuse) => [excuse.reason, 0]));
  const unexplained = differences(left, right).filter((difference) => {
    const excuse = excuses.find((candidate) => candidate.matches(difference));
    if (excuse !== undefined) excused.set(excuse.reason, excused.get(excuse.reason)! + 1);
    return excuse === undefined;
  });
  return { paths: left.size, unexplained, excused };
}

/** Reads and compares two folders. */
export async function compareFolders(
  left: string,
  right: string,
  excuses: Excuse[] = [],
  options: SnapshotOptions = {},
): Promise<Comparison> {
  return judge(await snapshot(left, options), await snapshot(right, options), excuses);
}
