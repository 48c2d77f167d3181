import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { dumpTree } from '../core/tree/text.js';
import { two, layoutOf, listing, tarOf } from './small-images.test-support.js';
import { openStore } from './store.js';
import { storeForEachTest } from './test-store.test-support.js';

const here = storeForEachTest();

/** Runs an import in another process that kills itself at the given call of a function of node:fs. */
function dieAt(path: string, call: string, count: number): void {
  const program = `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const real = fs[${JSON.stringify(call)}];
    let left = ${count};
    fs[${JSON.stringify(call)}] = (...args) => { if (--left === 0) process.kill(process.pid, 'SIGKILL'); return real(...args); };
    syncBuiltinESMExports();
    const { openStore } = await import(${JSON.stringify(new URL('../../dist/store/store.js', import.meta.url).href)});
    const store = await openStore({ root: ${JSON.stringify(here.root)} });
    await store.import(${JSON.stringify(path)}, { name: 'killed' });
    process.exit(7);`;
  const { signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
  });
  if (signal !== 'SIGKILL') throw new Error(stderr);
}

test('a chain that was deleted is made anew', async () => {
  await here.store.import(layoutOf(here.fresh(), { latest: two() }), { name: 'app' });
  const before = dumpTree((await here.store.tree('app')).tree);
  await here.store.close();
  rmSync(join(here.root, 'chains'), { recursive: true });
  here.store = await openStore({ root: here.root });
  expect(dumpTree((await here.store.tree('app')).tree)).toBe(before);
});

describe('crashes', () => {
  test.each([1, 2, 3, 5, 6, 7, 8])('killed at rename %i: the next open leaves nothing of it', async (count) => {
    await here.store.import(here.file(tarOf({ path: 'kept', data: 'the same\n' })), { name: 'kept' });
    await here.store.close();
    const before = listing(here.root);
    dieAt(layoutOf(here.fresh(), { latest: two() }), 'renameSync', count);
    expect(listing(here.root)).not.toEqual(before);
    here.store = await openStore({ root: here.root });
    expect(listing(here.root).filter((path) => !/^objects\/..$/.test(path))).toEqual(
      before.filter((path) => !/^objects\/..$/.test(path)),
    );
    expect(await here.contentOf('kept', 'kept')).toBe('the same\n');
    await here.store.import(layoutOf(here.fresh(), { latest: two() }), { name: 'after' });
    expect(await here.contentOf('after', 'also')).toBe('the same\n');
  });
});

test('what is left of a layer whose removal was interrupted is not taken for it', async () => {
  const layout = layoutOf(here.fresh(), { latest: two() });
  await here.store.import(layout, { name: 'app' });
  const [diffID] = here.store.image('app').layers.map((layer) => layer.diffID);
  const folder = here.store.paths.layer(diffID);
  cpSync(folder, join(here.work, 'kept'), { recursive: true });
  await here.store.removeImage('app');
  cpSync(join(here.work, 'kept'), folder, { recursive: true });
  rmSync(join(folder, 'tree'));
  await here.store.import(layout, { name: 'app' });
  expect(readdirSync(folder).toSorted()).toEqual(['objects', 'tar', 'tree']);
  expect(readdirSync(here.store.paths.ingest)).toEqual([]);
});

test.each([0, 100, 4096, 8192, 12_288])(
  'records that are %i zeros are told, and do not end the process',
  async (size) => {
    await here.store.close();
    const path = join(here.root, 'meta/records');
    writeFileSync(path, Buffer.alloc(size));
    await expect(openStore({ root: here.root })).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(path) as string,
    });
    rmSync(path);
    here.store = await openStore({ root: here.root });
  },
);

test('a newer store is left alone', async () => {
  writeFileSync(join(here.root, 'version'), '4\n');
  await expect(openStore({ root: here.root })).rejects.toMatchObject({ code: 'failed-precondition' });
});
