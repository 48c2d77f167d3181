/** The records of a store, used by several processes at once, of which some are killed. */
import { execFile } from 'node:child_process';
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { checkStore, openStore } from 'layerfs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Meta } from '../packages/layerfs/dist/store/meta.js';
import { tarOf } from './images/tar.js';
import { CLI } from './support/cli.js';
import { need } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';

const USER = fileURLToPath(new URL('dist/support/records-user.js', import.meta.url));
const SECONDS = '3';
const IMAGE = `sha256:${'0'.repeat(64)}` as unknown as Parameters<Meta['lastUsed']>[0];
const run = promisify(execFile);

let folder: string;
let root: string;
let records: string;
beforeEach(async () => {
  folder = scratchFolder('layerfs-records-');
  root = join(folder, 'store');
  records = join(root, 'meta/records');
  await (await openStore({ root })).close();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a program of which the next transaction is written, and which is killed before it is known to be on disk. */
async function killedWhileItCommits(program: string[]): Promise<void> {
  const at = ['-P', `${records}-wal`, '-e', 'trace=fsync,fdatasync', '-e', 'inject=fsync,fdatasync:signal=SIGKILL'];
  const log = join(folder, 'trace');
  await expect(run('strace', ['-f', '-o', log, ...at, process.execPath, ...program])).rejects.toMatchObject({
    signal: 'SIGKILL',
  });
}

/** The store as it is found when all processes die now: the index of what is not yet in its place dies with them. */
function afterCrash(): string {
  const copy = join(folder, 'copy');
  rmSync(copy, { recursive: true, force: true });
  cpSync(root, copy, { recursive: true });
  rmSync(join(copy, 'meta/records-shm'), { force: true });
  return copy;
}

test('no transaction is lost while others open and close the records', async () => {
  const use = async (what: string): Promise<number> =>
    Number((await run(process.execPath, [USER, records, what, SECONDS])).stdout);
  const times = await Promise.all([use('count'), use('open'), use('open')]);
  for (const each of times) expect(each).toBeGreaterThan(0);
});

test('what was written of a transaction whose process was killed does not come back once that is settled', async (context) => {
  need(context, 'strace');
  const meta = new Meta(records);
  try {
    const known = (): number | undefined => {
      const copy = new Meta(join(afterCrash(), 'meta/records'));
      try {
        return copy.lastUsed(IMAGE);
      } finally {
        copy.close();
      }
    };
    // Something is in the log, so that its header is.
    meta.settle();
    await killedWhileItCommits([USER, records, 'once', '0']);
    expect(meta.lastUsed(IMAGE)).toBeUndefined();
    // Whole, but unknown to those who have the records open: this is why.
    expect(known()).toBe(1);
    meta.settle();
    expect(known()).toBeUndefined();
  } finally {
    meta.close();
  }
});

test('an import that was killed while it committed is swept for good', async (context) => {
  need(context, 'strace');
  const store = await openStore({ root });
  try {
    const layout = join(folder, 'first.tar');
    writeFileSync(layout, tarOf({ name: 'first', data: 'first' }));
    await store.import(layout, { name: 'first' });
    writeFileSync(layout, tarOf({ name: 'second', data: 'second' }));
    await killedWhileItCommits([CLI, '--root', root, 'import', layout, '--name', 'second']);
    expect(store.images().map(({ name }) => name)).toEqual(['first:latest']);
    await store.gc();
    const copy = afterCrash();
    await expect(checkStore(copy)).resolves.toMatchObject({ problems: [] });
  } finally {
    await store.close();
  }
});
