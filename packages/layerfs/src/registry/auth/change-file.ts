/** Changing files of credentials, which other tools read, and other processes change at the same time. */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LayerfsError } from '../../core/error.js';
import { isMissing } from '../files.js';
import { readAuthFile } from './auth-file.js';

/** What a change of a file of credentials may change; all else in it stays as it is, and in its order. */
type Auths = Record<string, unknown>;

const MOST_LINKS = 40;

/**
 * Changes the entries of a file, which is made where it is missing. Whoever reads it meanwhile sees all of the old one or of the new one;
 * of two that change it at once, the second changes what the first has left. Its owner stays; a new one, and one that everybody could
 * read, is for its owner alone.
 * @param path may be a link to the file
 */
export async function changeAuthFile(
  path: string,
  change: (auths: Auths) => void,
  signal?: AbortSignal,
): Promise<void> {
  // Some keep the file elsewhere, and a link to it here.
  const target = targetOf(path);
  const folder = dirname(target);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fd = openSync(folder, 'r');
  try {
    // The folder, as the file is replaced, and one for the lock alone would stay for ever.
    await lock(fd, signal);
    const root = { ...readAuthFile(target, true)?.root };
    const auths = { ...(root['auths'] as Auths | undefined) };
    change(auths);
    root['auths'] = auths;
    replaceFile(target, `${JSON.stringify(root, undefined, '\t')}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Where a link leads, also to nothing yet. */
function targetOf(path: string): string {
  let at = path;
  for (let links = 0; links < MOST_LINKS; links++) {
    try {
      at = resolve(dirname(at), readlinkSync(at));
    } catch (error) {
      if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'EINVAL') return at;
      throw error;
    }
  }
  throw new LayerfsError('invalid-argument', `${path} is a link that leads to links without end`);
}

async function lock(fd: number, signal: AbortSignal | undefined): Promise<void> {
  const { LOCK, tryFlock } = await import('@layerfs/linux/lock');
  try {
    while (!tryFlock(fd, LOCK.EX)) await sleep(10, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    if (signal?.aborted === true) throw new LayerfsError('aborted', 'interrupted', { cause: error });
    // Network filesystems lock no folders, or nothing at all: there the last one wins.
    if (!['EBADF', 'ENOLCK', 'ENOSYS', 'EOPNOTSUPP', 'EINVAL'].includes((error as { code?: string }).code ?? ''))
      throw error;
  }
}

function replaceFile(path: string, text: string): void {
  const there = statSync(path, { throwIfNoEntry: false });
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`;
  const fd = openSync(temporary, 'wx', 0o600);
  try {
    try {
      writeFileSync(fd, text);
      if (there !== undefined) {
        // As under sudo.
        if (process.geteuid?.() === 0) fchownSync(fd, there.uid, there.gid);
        if ((there.mode & 0o007) === 0) fchmodSync(fd, there.mode & 0o770);
      }
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
