import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux';
import { open as openLmdb } from 'lmdb';
import { beforeEach, describe, expect, test } from 'vitest';
import { openStore } from '../store.js';
import { storeForEachTest } from '../test-store.test-support.js';

const here = storeForEachTest();
const FIXTURE = fileURLToPath(new URL('store-of-version-1.tar.gz', import.meta.url));
const DIST = new URL('../../../dist/store/store.js', import.meta.url).href;

/** A store that layerfs wrote before there was a version 2: images `base` and `lost`, one without a name, snapshot `work`. */
function oldStore(): string {
  const root = here.fresh();
  mkdirSync(root);
  execFileSync('tar', ['-C', root, '--no-same-owner', '-xzf', FIXTURE]);
  return root;
}

/** Opens a store in another process, and does something there. */
function elsewhere(root: string, then: string): ReturnType<typeof spawn> {
  const program = `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const { openStore } = await import(${JSON.stringify(DIST)});
    const root = ${JSON.stringify(root)};
    ${then}`;
  return spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['pipe', 'pipe', 'inherit'] });
}

async function checkMigrated(root: string): Promise<void> {
  const before = Date.now();
  const store = await openStore({ root });
  try {
    expect(readFileSync(join(root, 'version'), 'utf8')).toBe('2\n');
    expect(statSync(join(root, 'lock')).isDirectory()).toBe(true);
    expect(store.images().map(({ name }) => name)).toEqual(['base:latest', 'lost:latest', undefined]);
    for (const { lastUsed } of store.images())
      expect(Math.abs(Date.parse(lastUsed ?? '') - before)).toBeLessThan(60_000);
    expect((await store.diff('work')).map(({ path }) => path)).toContain('new');
    await store.export('base', here.fresh());
    expect(await store.gc()).toMatchObject({ images: [expect.any(String)], layers: 1, objects: 1, disagreeing: 0 });
    expect(await store.prune({ unusedFor: 24 * 3600 * 1000 })).toMatchObject({ images: [], inUse: [] });
  } finally {
    await store.close();
  }
}

describe('a store of version 1', () => {
  let root: string;
  beforeEach(() => {
    root = oldStore();
  });

  test('is brought to version 2, with all that is in it', async () => {
    expect(readFileSync(join(root, 'version'), 'utf8')).toBe('1\n');
    await checkMigrated(root);
  });

  test.each([
    ['unlinkSync', 1],
    ['mkdirSync', 2],
    ['writeFileSync', 1],
    ['renameSync', 1],
  ] as const)('killed in the middle, at %s', async (call, count) => {
    const child = elsewhere(
      root,
      `const real = fs.${call};
       let left = ${count};
       fs.${call} = (...args) => { if (--left === 0) process.kill(process.pid, 'SIGKILL'); return real(...args); };
       syncBuiltinESMExports();
       await openStore({ root });
       process.exit(7);`,
    );
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    await checkMigrated(root);
  });

  test('opened by several at once is brought there by one of them', async () => {
    const children = Array.from({ length: 4 }, () =>
      elsewhere(
        root,
        `const store = await openStore({ root }); console.log(store.images().length); await store.close();`,
      ),
    );
    const codes = await Promise.all(children.map((child) => once(child, 'exit')));
    expect(codes).toEqual([
      [0, null],
      [0, null],
      [0, null],
      [0, null],
    ]);
    await checkMigrated(root);
  });

  test('is left alone while somebody has it open with version 1', async () => {
    const ready = elsewhere(
      root,
      `const { open } = await import(${JSON.stringify(import.meta.resolve('lmdb'))});
       open({ path: root + '/meta', maxDbs: 16 });
       console.log('open');
       process.stdin.on('end', () => process.exit(0)).resume();`,
    );
    await once(ready.stdout ?? ready, 'data');
    const signal = AbortSignal.timeout(500);
    await expect(openStore({ root, signal })).rejects.toMatchObject({ code: 'aborted' });
    expect(readFileSync(join(root, 'version'), 'utf8')).toBe('1\n');
    expect(statSync(join(root, 'lock')).isFile()).toBe(true);
    ready.stdin?.end();
    await once(ready, 'exit');
    await checkMigrated(root);
  });

  test('is left alone while somebody works in it', async () => {
    const fd = openSync(join(root, 'lock'), 'r');
    expect(tryFlock(fd, LOCK.SH)).toBe(true);
    await expect(openStore({ root, signal: AbortSignal.timeout(200) })).rejects.toMatchObject({ code: 'aborted' });
    closeSync(fd);
    await checkMigrated(root);
  });
});

test('while a store is open its version cannot be changed by another', () => {
  const fd = openSync(join(here.root, 'version'), 'r');
  expect(tryFlock(fd, LOCK.EX)).toBe(false);
  closeSync(fd);
});

test.each(['3\n', '17\n', 'two\n', '-1\n', '0\n', '99999999999\n'])('version %j is refused', async (text) => {
  const root = here.fresh();
  await (await openStore({ root })).close();
  writeFileSync(join(root, 'version'), text);
  await expect(openStore({ root })).rejects.toMatchObject({
    code: 'failed-precondition',
    message: expect.stringMatching(/this layerfs knows 2: use a newer layerfs/) as string,
  });
});

test('a store whose version was lost before it was written is a new one', async () => {
  const root = here.fresh();
  mkdirSync(root);
  writeFileSync(join(root, 'version'), '');
  await (await openStore({ root })).close();
  expect(readFileSync(join(root, 'version'), 'utf8')).toBe('2\n');
  const old = oldStore();
  writeFileSync(join(old, 'version'), '');
  await checkMigrated(old);
  rmSync(join(root, 'version'));
  await (await openStore({ root })).close();
  expect(existsSync(join(root, 'version'))).toBe(true);
});

test('the fixture is of version 1', () => {
  const root = oldStore();
  expect(readFileSync(join(root, 'version'), 'utf8')).toBe('1\n');
  const env = openLmdb({ path: join(root, 'meta'), maxDbs: 16, readOnly: true });
  expect([...env.getKeys()].map(String)).toEqual(['blobs', 'images', 'layers', 'names', 'objects', 'snapshots']);
  void env.close();
});
