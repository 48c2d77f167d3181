import { digestFromBytes, digestHex, type Digest, type DiffID } from '../../core/digest.js';
import { LayerfsError } from '../../core/error.js';
import type { StoreContext } from '../context.js';
import { isErrno } from '../errors.js';
import { BlobIntake, readFileStream } from '../import/intake.js';
import { sniffCompression } from '../inflate/compression.js';
import { Inflated } from '../inflate/inflate.js';
import type { InflateThreads } from '../inflate/thread.js';
import { tryHash } from './check-objects.js';
import { checkFile, SEALED_MODE } from './file-claims.js';
import type { JobContext, JobResult } from './jobs.js';
import type { Finding } from './problem.js';

/**
 * Hashes a blob; of a compressed layer also what it holds. A damaged document is for whoever knows what it is.
 * @param onBytes also called where nothing was read, since it may throw to end the check
 */
export async function checkBlob(
  { paths }: Pick<StoreContext, 'paths'>,
  { root, uid }: JobContext,
  digest: Digest,
  layer: boolean,
  threads: InflateThreads,
  onBytes: (bytes: number) => void,
): Promise<JobResult> {
  const findings: Finding[] = [];
  const path = `blobs/sha256/${digestHex(digest)}`;
  const stats = checkFile(root, path, { ...SEALED_MODE, uid }, findings);
  if (stats === undefined) return { findings, items: 0 };
  const { size } = stats;
  if (!layer) {
    const found = tryHash(root, path, findings, onBytes);
    if (found !== undefined && found.hex !== digestHex(digest)) findings.push(damaged(path, digest, found.hex));
    return { findings, items: 1, blob: { size } };
  }
  const intake = new BlobIntake(readFileStream(paths.blob(digest)), { what: path, onBytes });
  try {
    let diffID: DiffID | undefined;
    let problem: string | undefined;
    try {
      const tar = new Inflated(intake, sniffCompression(await intake.head(8)), path, threads);
      // Little may hold very much.
      for await (const _ of tar) onBytes(0);
      diffID = digestFromBytes(tar.digest()) as DiffID;
    } catch (error) {
      if (!(error instanceof LayerfsError)) throw error;
      problem = error.message;
    }
    const { digest: found } = await intake.finish();
    if (found !== digest) findings.push(damaged(path, digest, digestHex(found)));
    // Its digest is right, so it came as it is.
    else if (problem !== undefined) findings.push({ kind: 'blob-damaged', path, expected: 'a layer', found: problem });
    return { findings, items: 1, blob: { size, ...(diffID === undefined || found !== digest ? {} : { diffID }) } };
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return { findings, items: 0 };
    if (!isErrno(error, 'EIO', 'EACCES', 'EUCLEAN')) throw error;
    findings.push({ kind: 'unreadable', path, expected: 'a file that can be read', found: (error as Error).message });
    return { findings, items: 1 };
  } finally {
    await intake.close();
  }
}

function damaged(path: string, digest: Digest, hex: string): Finding {
  return { kind: 'blob-damaged', path, expected: `content with digest ${digest}`, found: `sha256:${hex}` };
}
