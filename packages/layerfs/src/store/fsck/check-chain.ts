import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestHex, type ChainID, type DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { Tree } from '../../core/tree/tree.js';
import type { StoreContext } from '../context.js';
import { erofsOf } from '../erofs.js';
import { isErrno } from '../errors.js';
import { chainOf, mergedTree, openTree } from '../trees.js';
import { checkFile, PRIVATE_FOLDER, SEALED_MODE } from './file-claims.js';
import type { JobContext, JobResult } from './jobs.js';
import type { Finding } from './problem.js';

const MADE_FILES: ReadonlySet<string> = new Set(['tree', 'erofs']);

/**
 * A merged tree: that it is sound, and that it is what its layers give.
 * @param onBytes also called where nothing was read, since it may throw to end the check
 */
export function checkChain(
  { paths, xxhash }: Pick<StoreContext, 'paths' | 'xxhash'>,
  { root, uid }: JobContext,
  chainID: ChainID,
  layers: readonly DiffID[] | undefined,
  onBytes: (bytes: number) => void,
): JobResult {
  const findings: Finding[] = [];
  const folder = `chains/${digestHex(chainID)}`;
  const path = `${folder}/tree`;
  const damaged = (expected: string, found: string): void => {
    findings.push({ kind: 'chain-damaged', path, expected, found });
  };
  if (checkFile(root, folder, { ...PRIVATE_FOLDER, uid }, findings) === undefined) return { findings, items: 0 };
  for (const name of readdirSync(join(root, folder))) {
    if (!MADE_FILES.has(name))
      findings.push({
        kind: 'foreign-file',
        path: `${folder}/${name}`,
        expected: 'a merged tree',
        found: 'another name',
      });
  }
  const stats = checkFile(root, path, { ...SEALED_MODE, uid }, findings);
  if (stats === undefined) {
    if (findings.every((finding) => finding.path !== path)) damaged('a merged tree', 'an empty folder');
    return { findings, items: 1 };
  }
  onBytes(stats.size);
  try {
    openTree(join(root, path), xxhash).unmap();
  } catch (error) {
    if (!(error instanceof LayerfsError) && !isErrno(error, 'EIO', 'EACCES', 'EUCLEAN')) throw error;
    damaged('a sound tree', (error as Error).message);
    return { findings, items: 1 };
  }
  onBytes(0);
  if (layers === undefined) return { findings, items: 1 };
  if (chainOf(layers) !== chainID) return { findings, items: 1 };
  let merged: Uint8Array;
  try {
    merged = mergedTree(
      layers.map((diffID) => paths.layerTree(diffID)),
      xxhash,
    );
  } catch (error) {
    // A layer's tree is damaged or missing: that is told, and this one cannot be compared.
    if (error instanceof LayerfsError || isErrno(error, 'EIO', 'EACCES', 'EUCLEAN', 'ELOOP', 'EISDIR'))
      return { findings, items: 1 };
    throw error;
  }
  onBytes(0);
  if (!readFileSync(join(root, path)).equals(merged)) damaged('what its layers give', 'another tree');
  else checkImage({ root, uid }, folder, chainID, findings, onBytes);
  return { findings, items: 1 };
}

/** The EROFS image of a tree that is right. */
function checkImage(
  { root, uid }: JobContext,
  folder: string,
  chainID: ChainID,
  findings: Finding[],
  onBytes: (bytes: number) => void,
): void {
  const path = `${folder}/erofs`;
  if (checkFile(root, path, { ...SEALED_MODE, uid }, findings) === undefined) return;
  const { tree, unmap } = openTree(join(root, folder, 'tree'));
  try {
    if (isImageOf(join(root, path), tree, chainID, onBytes)) return;
    findings.push({ kind: 'chain-damaged', path, expected: 'the EROFS image of its tree', found: 'another' });
  } finally {
    unmap();
  }
}

/** Whether a file is the EROFS image that would be made of a tree. */
function isImageOf(path: string, tree: Tree, chainID: ChainID, onBytes: (bytes: number) => void): boolean {
  const file = readFileSync(path);
  let at = 0;
  for (const bytes of erofsOf(tree, chainID).write()) {
    if (file.compare(bytes, 0, bytes.length, at, Math.min(file.length, at + bytes.length)) !== 0) return false;
    at += bytes.length;
    onBytes(0);
  }
  return at === file.length;
}
