import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { LOCK, tryFlock } from '@layerfs/linux/lock';
import { open as openLmdb } from 'lmdb';
import { beforeEach, describe, expect, test } from 'vitest';
import type { checkStore as CheckStore } from '../fsck/fsck.js';
import { openStore } from '../store.js';
import { storeForEachTest } from '../test-store.test-support.js';

const here = storeForEachTest();
const DIST = new URL('../../../dist/store/store.js', import.meta.url).href;
/** As it is built: it starts threads. */
const FSCK = new URL('../../../dist/store/fsck/fsck.js', import.meta.url).href;

/** A store as layerfs wrote it once: images `base` and `lost`, one without a name, snapshot `work`; in version 2 a lease on `base`. */
function oldStore(version: number): string {
  const root = here.fresh();
  mkdirSync(root);
  const fixture = fileURLToPath(new URL(`store-of-version-${version}.tar.gz`, import.meta.url));
  execFileSync('tar', ['-C', root, '--no-same-owner', '-xzf', fixture]);
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

async function checkMigrated(root: string, version: number): Promise<void> {
  const before = Date.now();
  const store = await openStore({ root });
  try {
    expect(readFileSync(join(root, 'version'), 'utf8')).toBe('3\n');
    expect(statSync(join(root, 'lock')).isDirectory()).toBe(true);
    expect(store.images().map(({ name }) => name)).toEqual(['base:latest', 'lost:latest', undefined]);
    // What was used when, version 1 did not know: as if it were now.
    const used = version === 1 ? before : Date.parse('2026-11-21T16:42:00Z');
    for (const { lastUsed } of store.images()) expect(Math.abs(Date.parse(lastUsed ?? '') - used)).toBeLessThan(60_000);
    expect((await store.diff('work')).map(({ path }) => path)).toContain('new');
    await store.export('base', here.fresh());
    expect(await store.gc()).toMatchObject({ images: [expect.any(String)], layers: 1, objects: 1, disagreeing: 0 });
    const sparing = { unusedFor: Date.now() - used + 3600 * 1000 };
    expect(await store.prune(sparing)).toMatchObject({ images: [], inUse: [] });
  } finally {
    await store.close();
  }
}

describe.each([1, 2])('a store of version %i', (version) => {
  let root: string;
  beforeEach(() => {
    root = oldStore(version);
  });

  test('is brought to version 3, with all that is in it', async () => {
    expect(readFileSync(join(root, 'version'), 'utf8')).toBe(`${version}\n`);
    await checkMigrated(root, version);
    expect(readdirSync(join(root, 'meta'))).toEqual(['records', 'reserve']);
    const { checkStore } = (await import(FSCK)) as { checkStore: typeof CheckStore };
    expect((await checkStore(root)).problems).toEqual([]);
    const store = await openStore({ root });
    expect(store.leases.list().map(({ label }) => label)).toEqual(version === 2 ? ['fixture'] : []);
    await store.close();
  });

  test.each(
    (
      [
        ['unlinkSync', 1, 1],
        ['mkdirSync', 1, 2],
        ['linkSync', 1, 1],
        ['linkSync', 2, 1],
        ['fsyncSync', 2, 1],
        ['rmSync', 2, 1],
        ['rmSync', 2, 2],
        ['rmSync', 2, 3],
        ['writeFileSync', 1, 1],
        ['writeFileSync', 2, 1],
        ['renameSync', 1, 1],
        ['renameSync', 2, 1],
      ] as const
    ).filter(([, from]) => from === version),
  )('killed in the middle, at %s', async (call, _, count) => {
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
    await checkMigrated(root, version);
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
    await checkMigrated(root, version);
  });
});

test('a store of version 1 is left alone while somebody has it open', async () => {
  const root = oldStore(1);
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
  await checkMigrated(root, 1);
});

test('a store of version 1 is left alone while somebody works in it', async () => {
  const root = oldStore(1);
  const fd = openSync(join(root, 'lock'), 'r');
  expect(tryFlock(fd, LOCK.SH)).toBe(true);
  await expect(openStore({ root, signal: AbortSignal.timeout(200) })).rejects.toMatchObject({ code: 'aborted' });
  closeSync(fd);
  await checkMigrated(root, 1);
});

test('a store of version 2 is left alone while somebody has it open', async () => {
  const root = oldStore(2);
  const fd = openSync(join(root, 'version'), 'r');
  expect(tryFlock(fd, LOCK.SH)).toBe(true);
  await expect(openStore({ root, signal: AbortSignal.timeout(200) })).rejects.toMatchObject({ code: 'aborted' });
  expect(existsSync(join(root, 'meta/data.mdb'))).toBe(true);
  closeSync(fd);
  await checkMigrated(root, 2);
});

test('while a store is open its version cannot be changed by another', () => {
  const fd = openSync(join(here.root, 'version'), 'r');
  expect(tryFlock(fd, LOCK.EX)).toBe(false);
  closeSync(fd);
});

test.each(['4\n', '17\n', 'two\n', '-1\n', '0\n', '99999999999\n'])('version %j is refused', async (text) => {
  const root = here.fresh();
  await (await openStore({ root })).close();
  writeFileSync(join(root, 'version'), text);
  await expect(openStore({ root })).rejects.toMatchObject({
    code: 'failed-precondition',
    message: expect.stringMatching(/this layerfs knows 3: use a newer layerfs/) as string,
  });
});

test('a store whose version was lost before it was written is a new one', async () => {
  const root = here.fresh();
  mkdirSync(root);
  writeFileSync(join(root, 'version'), '');
  await (await openStore({ root })).close();
  expect(readFileSync(join(root, 'version'), 'utf8')).toBe('3\n');
  for (const version of [1, 2]) {
    const old = oldStore(version);
    writeFileSync(join(old, 'version'), '');
    await checkMigrated(old, version);
  }
  rmSync(join(root, 'version'));
  await (await openStore({ root })).close();
  expect(existsSync(join(root, 'version'))).toBe(true);
});

test.each([
  [1, ['blobs', 'images', 'layers', 'names', 'objects', 'snapshots']],
  [2, ['blobs', 'images', 'layers', 'leases', 'names', 'objects', 'removals', 'snapshots', 'state', 'used']],
])('the fixture is of version %i', (version, tables) => {
  const root = oldStore(version);
  expect(readFileSync(join(root, 'version'), 'utf8')).toBe(`${version}\n`);
  const env = openLmdb({ path: join(root, 'meta'), maxDbs: 16, readOnly: true });
  expect([...env.getKeys()].map(String)).toEqual(tables);
  void env.close();
});
