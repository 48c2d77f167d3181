import { closeSync, existsSync, fdatasyncSync, linkSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { digestHex, type ChainID, type DiffID } from '../core/digest.js';
import { hexBytes } from '../core/bytes.js';
import { ErofsImage } from '../core/erofs/image.js';
import { LayerfsError } from '../core/error.js';
import type { Tree } from '../core/tree/tree.js';
import type { StoreContext } from './context.js';
import { isErrno } from './errors.js';
import { Session } from './session.js';
import { ensureChain, openTree } from './trees.js';

/**
 * The EROFS image of a stack's merged tree; it is made when it is missing: like the tree it is a cache. The caller holds the store's
 * shared lock.
 * @returns its path
 * @throws LayerfsError unimplemented, naming the file, for a tree that no kernel mount can show
 */
export function ensureErofs(context: StoreContext, chainID: ChainID, diffIDs: readonly DiffID[]): string {
  const target = context.paths.chainErofs(chainID);
  if (existsSync(target)) return target;
  const chain = ensureChain(context, chainID, diffIDs);
  // The kernel reads the image by itself: it is made of a tree that was checked through.
  const { tree, unmap } = openTree(chain, context.xxhash);
  const session = new Session(context, 'EROFS image');
  try {
    const temporary = join(session.folder, 'erofs');
    writeImage(erofsOf(tree, chainID), temporary);
    publish(temporary, target);
  } catch (error) {
    if (!(error instanceof LayerfsError) || error.code !== 'unimplemented') throw error;
    throw new LayerfsError('unimplemented', `no kernel mount can show this image: ${error.message}`, { cause: error });
  } finally {
    unmap();
    session.end();
  }
  return target;
}

/** The EROFS image of a stack's merged tree. @throws as {@link ensureErofs} */
export function erofsOf(tree: Tree, chainID: ChainID): ErofsImage {
  // The first half of the chainID tells images apart well enough.
  return new ErofsImage(tree, { uuid: hexBytes(digestHex(chainID).slice(0, 32)) });
}

function writeImage(image: ErofsImage, path: string): void {
  const fd = openSync(path, 'wx', 0o400);
  try {
    for (const bytes of image.write()) {
      for (let from = 0; from < bytes.length;) from += writeSync(fd, bytes, from);
    }
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Never takes the place of another: that one may be mounted, and is known by its inode. */
function publish(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  }
  rmSync(from);
}
