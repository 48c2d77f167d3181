import { closeSync, existsSync, fdatasyncSync, linkSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { NativeThread } from '@layerfs/linux/thread';
import { digestHex, type ChainID, type DiffID } from '../core/digest.js';
import { hexBytes } from '../core/bytes.js';
import { ErofsImage } from '../core/erofs/image.js';
import { LayerfsError, type LayerfsErrorCode } from '../core/error.js';
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
export async function ensureErofs(
  context: StoreContext,
  chainID: ChainID,
  diffIDs: readonly DiffID[],
): Promise<string> {
  const target = context.paths.chainErofs(chainID);
  if (existsSync(target)) return target;
  const session = new Session(context, 'EROFS image');
  try {
    const job: ErofsJob = { root: context.paths.root, chainID, diffIDs, target: join(session.folder, 'erofs') };
    const entries = diffIDs.reduce((sum, diffID) => sum + (context.meta.layer(diffID)?.entries ?? 0), 0);
    if (entries <= MOST_ENTRIES) writeErofs(context, job);
    else await writeBehind(job);
    publish(job.target, target);
  } catch (error) {
    if (!(error instanceof LayerfsError) || error.code !== 'unimplemented') throw error;
    throw new LayerfsError('unimplemented', `no kernel mount can show this image: ${error.message}`, { cause: error });
  } finally {
    session.end();
  }
  return target;
}

/** More are another thread's work, which takes some tens of milliseconds to begin: others are waiting for this one. */
const MOST_ENTRIES = 2000;

/** What to write, and where. */
export interface ErofsJob {
  /** The store's folder. */
  readonly root: string;
  readonly chainID: ChainID;
  readonly diffIDs: readonly DiffID[];
  readonly target: string;
}

/** Writes an image, and the merged tree that it shows when that is missing. */
export function writeErofs(
  { paths, xxhash }: Pick<StoreContext, 'paths' | 'xxhash'>,
  { chainID, diffIDs, target }: ErofsJob,
): void {
  const chain = ensureChain({ paths, xxhash }, chainID, diffIDs);
  // The kernel reads the image by itself: it is made of a tree that was checked through.
  const { tree, unmap } = openTree(chain, xxhash);
  try {
    writeImage(erofsOf(tree, chainID), target);
  } finally {
    unmap();
  }
}

/** What the thread says in the end; undefined: it is done. */
export type ErofsReply = { readonly code: string | undefined; readonly message: string } | undefined;

function writeBehind(job: ErofsJob): Promise<void> {
  return new Promise((done, fail) => {
    const { worker } = new NativeThread(new URL('erofs-worker.js', import.meta.url), job);
    worker.once('message', (reply: ErofsReply) => {
      if (reply === undefined) done();
      else fail(isCode(reply.code) ? new LayerfsError(reply.code, reply.message) : failure(reply));
    });
    worker.once('error', fail);
    worker.once('exit', () => fail(new LayerfsError('internal', `the thread that writes ${job.target} ended early`)));
  });
}

function isCode(code: string | undefined): code is LayerfsErrorCode {
  return code !== undefined && /^[a-z]/.test(code);
}

function failure({ code, message }: Exclude<ErofsReply, undefined>): Error {
  return Object.assign(new Error(message), code === undefined ? {} : { code });
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
