/** The records of a store, used by several processes at once. */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { scratchFolder } from './support/scratch.js';

const USER = fileURLToPath(new URL('dist/support/records-user.js', import.meta.url));
const SECONDS = '3';
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
