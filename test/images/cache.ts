/** The folder in which built test images stay, and the locking that lets several processes fill it. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';

/** Raise it when the content of any image changes: older images are then left alone and built anew beside. */
const VERSION = 1;

/** The workspace's root: this file runs from test/images and from test/dist/images. */
function workspace(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'pnpm-workspace.yaml'))) folder = dirname(folder);
  return folder;
}

/** Where images are kept: $LAYERFS_TEST_CACHE, else a folder under the workspace's node_modules. */
export function cacheFolder(): string {
  const base = process.env['LAYERFS_TEST_CACHE'] ?? join(workspace(), 'node_modules/.cache/layerfs-test-images');
  return join(base, `v${VERSION}`);
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

async function holderIsAlive(lock: string): Promise<boolean> {
  try {
    const [pid, started] = (await readFile(lock, 'utf8')).split(' ');
    if (started === undefined) {
      // Being written this moment, or left so by a crash.
      return Date.now() - (await stat(lock)).mtimeMs < 5000;
    }
    return startTime(await readFile(`/proc/${pid}/stat`, 'utf8')) === started;
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ESRCH') return false;
    throw error;
  }
}

/** Field 22 of /proc/PID/stat, which tells a process from a later one with the same number. */
function startTime(line: string): string {
  return line.slice(line.lastIndexOf(')') + 2).split(' ')[19];
}

async function withLock<T>(lock: string, work: () => Promise<T>): Promise<T> {
  const mine = `${process.pid} ${startTime(await readFile('/proc/self/stat', 'utf8'))} `;
  for (;;) {
    try {
      await writeFile(lock, mine, { flag: 'wx' });
      break;
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
      if (await holderIsAlive(lock)) await sleep(200);
      else await rm(lock, { force: true });
    }
  }
  try {
    return await work();
  } finally {
    await unlink(lock);
  }
}

/**
 * The path `relative` of the cache, made by `make` when it is not there: `make` writes to a temporary path, which is
 * renamed when it is complete. So a stopped build continues where it was, and of two builders one waits for the other.
 */
export async function cached(relative: string, make: (path: string) => Promise<void>): Promise<string> {
  const path = join(cacheFolder(), relative);
  if (existsSync(path)) return path;
  await mkdir(dirname(path), { recursive: true });
  return withLock(`${path}.lock`, async () => {
    if (existsSync(path)) return path;
    const temporary = await mkdtemp(`${path}.tmp-`);
    try {
      const inside = join(temporary, 'new');
      await make(inside);
      await rename(inside, path);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    return path;
  });
}
