/** The records of a store, used by several processes at once. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { Meta } from '../packages/layerfs/dist/store/meta.js';
import { need } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';

const USER = fileURLToPath(new URL('dist/support/records-user.js', import.meta.url));
const SECONDS = '3';
const IMAGE = `sha256:${'0'.repeat(64)}` as unknown as Parameters<Meta['lastUsed']>[0];
const run = promisify(execFile);

test('no transaction is lost while others open and close the records', async () => {
  const folder = scratchFolder('layerfs-records-');
  try {
    const use = async (what: string): Promise<number> =>
      Number((await run(process.execPath, [USER, folder, what, SECONDS])).stdout);
    const times = await Promise.all([use('count'), use('open'), use('open')]);
    for (const each of times) expect(each).toBeGreaterThan(0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('what a process that was killed while it committed had written, others see', async (context) => {
  need(context, 'strace');
  const folder = scratchFolder('layerfs-records-');
  const meta = new Meta(folder);
  try {
    const log = join(folder, 'trace');
    const written = (): RegExpExecArray | null =>
      // struct MDB_meta: with it a transaction is there.
      /^(\d+) +pwrite64\(.*, 128, (?:40|4136)\b/m.exec(existsSync(log) ? readFileSync(log, 'latin1') : '');
    const delay = ['-P', join(folder, 'data.mdb'), '-e', 'trace=pwrite64', '-e', 'inject=pwrite64:delay_exit=500000'];
    const child = spawn('strace', ['-f', '-o', log, ...delay, process.execPath, USER, folder, 'once', '0'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const end = once(child, 'exit');
    while (written() === null && child.exitCode === null) await sleep(20);
    process.kill(Number(written()?.[1]), 'SIGKILL');
    await end;
    meta.refresh();
    expect(meta.lastUsed(IMAGE)).toBe(1);
  } finally {
    await meta.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
