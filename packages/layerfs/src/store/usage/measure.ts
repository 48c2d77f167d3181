/** What a store's folder takes on the disk, every block of it, as du(1) counts. */
import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { checkAborted, isErrno } from '../errors.js';
import { turn } from '../gc/counts.js';
import type { StorePaths } from '../paths.js';

/** The parts of a store's folder (docs/store.md). `other`: the folder itself, `version`, locks, and what is not layerfs's. */
export const PARTS = [
  'objects',
  'blobs',
  'layers',
  'chains',
  'snapshots',
  'mounts',
  'ingest',
  'trash',
  'quarantine',
  'meta',
  'other',
] as const;

export type Part = (typeof PARTS)[number];

/** What a part takes: files and folders, and bytes on the disk. */
export interface PartUsage {
  readonly entries: number;
  readonly bytes: number;
}

/** What a store's folder takes. */
export interface StoreSize {
  /** As `du -s` of the folder says. */
  readonly total: number;
  readonly parts: Readonly<Record<Part, PartUsage>>;
}

/** How to measure. */
export interface MeasureOptions {
  /** Called for every object, with the 64 hex digits of its name and its bytes on the disk. */
  readonly onObject?: (hex: string, bytes: number) => void;
  readonly onProgress?: (event: UsageProgress) => void;
  readonly signal?: AbortSignal | undefined;
}

/** How far a measurement is. */
export interface UsageProgress {
  readonly kind: 'usage';
  /** Files and folders that were looked at. */
  readonly entries: number;
}

const BREATH = 4096;
const SLASH = Buffer.from('/');

/** Looks at every file of a store. What comes and goes meanwhile may be counted or not. */
export async function measureStore(paths: StorePaths, options: MeasureOptions = {}): Promise<StoreSize> {
  const parts = Object.fromEntries(PARTS.map((part) => [part, { entries: 0, bytes: 0 }])) as Record<
    Part,
    { entries: number; bytes: number }
  >;
  // Files with several names count once, in the part that is looked at first: a chain may be a link to a layer's tree.
  const linked = new Set<string>();
  let entries = 0;
  const count = (part: Part, stats: Stats): boolean => {
    entries++;
    const key = `${stats.dev}:${stats.ino}`;
    if (stats.nlink > 1 && !stats.isDirectory()) {
      if (linked.has(key)) return false;
      linked.add(key);
    }
    parts[part].entries++;
    parts[part].bytes += stats.blocks * 512;
    return true;
  };
  const root = lstatSync(paths.root);
  count('other', root);
  const names = readdirSync(paths.root);
  const known = PARTS.filter((part) => part !== 'other' && names.includes(part));
  for (const name of [...known, ...names.filter((each) => !(known as string[]).includes(each))]) {
    const part = (known as string[]).includes(name) ? (name as Part) : 'other';
    for (const [path, stats] of walk(Buffer.from(join(paths.root, name)), root.dev)) {
      const first = count(part, stats);
      if (part === 'objects' && first && stats.isFile()) {
        options.onObject?.(path.toString('latin1', path.length - 65).replace('/', ''), stats.blocks * 512);
      }
      if (entries % BREATH !== 0) continue;
      checkAborted(options.signal);
      options.onProgress?.({ kind: 'usage', entries });
      await turn();
    }
  }
  options.onProgress?.({ kind: 'usage', entries });
  const total = PARTS.reduce((sum, part) => sum + parts[part].bytes, 0);
  return { total, parts };
}

/** Everything at and below a path, on the same file system: not what is mounted there. */
function* walk(path: Buffer, dev: number): Generator<[Buffer, Stats]> {
  const left = [path];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const stats = lookAt(next);
    if (stats === undefined || stats.dev !== dev) continue;
    yield [next, stats];
    if (stats.isDirectory()) {
      for (const name of namesIn(next)) left.push(Buffer.concat([next, SLASH, name]));
    }
  }
}

function lookAt(path: Buffer): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (isErrno(error, 'ENOTDIR', 'EACCES')) return undefined;
    throw error;
  }
}

function namesIn(folder: Buffer): Buffer[] {
  try {
    return readdirSync(folder, { encoding: 'buffer' });
  } catch (error) {
    // Gone since it was listed, or a folder of another mode in a store without root.
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return [];
    throw error;
  }
}
