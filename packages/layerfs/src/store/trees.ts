import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { mapFile } from '@layerfs/linux';
import { chainIDs, type ChainID, type DiffID } from '../core/digest.js';
import { LayerfsError } from '../core/error.js';
import { ROOT } from '../core/tree/format.js';
import { mergeTrees } from '../core/tree/merge.js';
import { Tree } from '../core/tree/tree.js';
import type { StoreContext } from './context.js';
import { isErrno } from './errors.js';
import type { Xxhash } from './hash.js';
import { publishFolder } from './publish.js';

/** A tree that lies in a file and is read where it lies. */
export interface MappedTree {
  readonly tree: Tree;
  readonly path: string;
  /** The tree must not be touched afterwards. */
  readonly unmap: () => void;
}

/** Maps a tree file. @throws LayerfsError not-found, corrupt naming the file */
export function openTree(path: string, verify?: Xxhash): MappedTree {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) throw new LayerfsError('not-found', `no tree ${path}`, { cause: error });
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    if (size === 0) throw new LayerfsError('corrupt', `tree ${path} is empty`);
    const map = mapFile(fd, size);
    try {
      const tree = Tree.open(map.buffer, verify === undefined ? {} : { verify });
      return { tree, path, unmap: () => map.unmap() };
    } catch (error) {
      map.unmap();
      if (!(error instanceof LayerfsError)) throw error;
      throw new LayerfsError(error.code, `tree ${path}: ${error.message}`, { cause: error });
    }
  } finally {
    closeSync(fd);
  }
}

/** The chainID of a whole stack, lowest first. */
export function chainOf(diffIDs: readonly DiffID[]): ChainID {
  const chain = chainIDs(diffIDs, (bytes) => createHash('sha256').update(bytes).digest()).at(-1);
  if (chain === undefined) throw new LayerfsError('invalid-argument', 'an image without layers');
  return chain;
}

/**
 * Merges layer trees, lowest first, and writes the result to a new file. A single layer that hides nothing and stands on
 * nothing is its own result: then the file is the same one.
 */
export function writeMergedTree(layerTrees: readonly string[], target: string, xxhash: Xxhash): void {
  const mapped: MappedTree[] = [];
  try {
    for (const path of layerTrees) mapped.push(openTree(path));
    if (mapped.length === 1 && isSelfContained(mapped[0].tree)) {
      linkSync(mapped[0].path, target);
      return;
    }
    const merged = mergeTrees(
      mapped.map(({ tree }) => tree),
      { hash: xxhash },
    );
    writeFileSync(target, merged, { flag: 'wx', mode: 0o400 });
  } finally {
    for (const { unmap } of mapped) unmap();
  }
}

/** The bytes of the merged tree that {@link writeMergedTree} writes, of trees that are verified first. @throws as that */
export function mergedTree(layerTrees: readonly string[], xxhash: Xxhash): Uint8Array {
  const mapped: MappedTree[] = [];
  try {
    for (const path of layerTrees) mapped.push(openTree(path, xxhash));
    if (mapped.length === 1 && isSelfContained(mapped[0].tree)) return readFileSync(mapped[0].path);
    return mergeTrees(
      mapped.map(({ tree }) => tree),
      { hash: xxhash },
    );
  } finally {
    for (const { unmap } of mapped) unmap();
  }
}

function isSelfContained(tree: Tree): boolean {
  for (let d = 0; d < tree.direntCount; d++) if (tree.isWhiteout(d) || tree.isLowerLink(d)) return false;
  for (let ino = ROOT; ino <= tree.inodeCount; ino++) if (tree.isOpaque(ino) || tree.isImplied(ino)) return false;
  return true;
}

// It is found under a name that images know: what was lost with the power would be there, and be taken for it.
function syncFile(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * The path of the merged tree of a stack; it is made when it is missing: chains are a cache.
 * The caller holds the store's shared lock.
 */
export function ensureChain(
  { paths, xxhash }: Pick<StoreContext, 'paths' | 'xxhash'>,
  chainID: ChainID,
  diffIDs: readonly DiffID[],
): string {
  const target = paths.chainTree(chainID);
  const temporary = join(dirname(dirname(target)), `.${process.pid}-${Math.random().toString(36).slice(2)}`);
  try {
    closeSync(openSync(target, 'r'));
    return target;
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  mkdirSync(temporary, { mode: 0o700 });
  try {
    writeMergedTree(
      diffIDs.map((diffID) => paths.layerTree(diffID)),
      join(temporary, 'tree'),
      xxhash,
    );
    syncFile(join(temporary, 'tree'));
    publishFolder(temporary, dirname(target));
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return target;
}
