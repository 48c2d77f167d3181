/** `layerfs snapshots`, `diff`, `commit` and `rm` as users meet them: what they print, and how they fail. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openStore, type Snapshot } from 'layerfs';
import { tarOf } from './images/tar.js';
import { CLI } from './support/cli.js';
import { Workplace } from './support/mounted.js';
import { need } from './support/needs.js';
import { storeListing } from './support/store-listing.js';

const place = new Workplace();
afterAll(() => place.remove());

async function create(ref: string, name: string, root = place.root): Promise<Snapshot> {
  const store = await openStore({ root });
  try {
    return await store.createSnapshot(ref, { name });
  } finally {
    await store.close();
  }
}

beforeAll(async () => {
  const tar = join(place.folder, 'image.tar');
  const ids = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  writeFileSync(
    tar,
    tarOf(
      { name: './', mode: 0o755, ...ids },
      { name: 'etc/', mode: 0o755, ...ids },
      { name: 'etc/motd', data: 'hello\n', ...ids },
      { name: 'gone', data: 'x', ...ids },
    ),
  );
  await place.ok(['import', tar, '--name', 'app']);
  const { upper } = await create('app', 'work');
  mkdirSync(join(upper, 'etc'));
  writeFileSync(join(upper, 'etc/motd'), 'bye\n');
  writeFileSync(join(upper, '.wh.gone'), '');
  writeFileSync(join(upper, 'new\x1b[2J\u202e'), '');
});

test('lists them', async () => {
  expect(await place.ok(['snapshots'])).toMatch(/^NAME {2}IMAGE +CREATED +MOUNTED AT\nwork {2}app:latest .* ago +-\n$/);
  expect(await place.ok(['snapshots', '-q'])).toBe('work\n');
  expect(JSON.parse(await place.ok(['snapshots', '--json']))).toMatchObject([{ name: 'work', ref: 'app:latest' }]);
  const other = { env: { LAYERFS_ROOT: join(place.folder, 'other') } };
  expect(await place.ok(['snapshots'], other)).toContain('no snapshots in');
  expect(await place.ok(['snapshots', '--json'], other)).toBe('[]\n');
});

test('tells what was changed, and nothing steers the terminal', async () => {
  const shown = '/new\\x1b[2J\\xe2\\x80\\xae';
  expect(await place.ok(['diff', 'work'])).toBe(`C /\nC /etc\nC /etc/motd\nD /gone\nA ${shown}\n`);
  expect(JSON.parse(await place.ok(['diff', 'work', '--json']))).toContainEqual({ kind: 'added', path: shown });
});

test('commits, compares images, removes', async () => {
  const said = await place.ok(['commit', 'work', 'made:1', '-m', 'two words', '--author', 'me']);
  expect(said).toMatch(
    /^made:1 is sha256:[0-9a-f]{64}\n1 added, 3 changed, 1 deleted: 5 entries, .* compressed, 4 B new/,
  );
  expect(await place.ok(['history', 'made:1'])).toContain('layerfs commit');
  expect(await place.ok(['cat', 'made:1', '/etc/motd'])).toBe('bye\n');
  expect(await place.ok(['diff', 'app', 'made:1'])).toContain('D /gone\n');
  expect(await place.ok(['diff', 'made:1', 'made:1'])).toBe('');
  expect(await place.ok(['commit', 'work', 'made:2', '-q'])).toBe('made:2\n');
  expect(await place.ok(['du'])).toMatch(/SNAPSHOT +IMAGE +CHANGES\nwork +app:latest/);

  const refused = await place.try(['rmi', 'app']);
  expect(refused).toMatchObject({ code: 6, stdout: '' });
  expect(refused.stderr).toMatch(/^layerfs: cannot remove app: app:latest has snapshots \(work\).*\n {2}--force/);
  expect(await place.ok(['rmi', '--force', 'app'])).toContain('its layers stay until the snapshot work is removed\n');
  expect(await place.ok(['diff', 'work'])).toContain('D /gone\n');
  await place.ok(['rmi', 'made:1', 'made:2']);
  expect(await place.ok(['rm', 'work'])).toBe('removed work\nfreed 7 B in 2 objects of its image\n');
  expect(await place.ok(['images', '--json'])).toBe('[]\n');
});

test.each([
  [['diff', 'none'], 3, 'no snapshot none in the store'],
  [['diff', 'none', 'nothing'], 3, 'no image none:latest in the store'],
  [['diff', '/nowhere'], 3, 'no snapshot /nowhere'],
  [['commit', 'none', 'made'], 3, 'no snapshot none in the store'],
  [['rm', 'none'], 3, 'images are removed with layerfs rmi'],
  [['rm'], 2, 'missing required argument'],
  [['commit', 'x'], 2, 'missing required argument'],
])('%j', async (args, code, says) => {
  const result = await place.try(args);
  expect(result).toMatchObject({ code, stdout: '' });
  expect(result.stderr).toContain(says);
});

test('a mountpoint in place of a name', async (context) => {
  need(context, 'fuse');
  const tar = join(place.folder, 'image.tar');
  await place.ok(['import', tar, '--name', 'app']);
  const readOnly = await place.mount('app');
  const refused = await place.try(['diff', readOnly]);
  expect(refused).toMatchObject({ code: 6 });
  expect(refused.stderr).toContain('read-only');
  const mountpoint = await place.mount('app', '--rw', '--name', 'mounted');
  rmSync(join(mountpoint, 'gone'));
  expect(await place.ok(['diff', mountpoint])).toBe('C /\nD /gone\n');
  expect(await place.ok(['commit', `${mountpoint}/`, 'from-mount'])).toContain('0 added, 1 changed, 1 deleted');
  expect(await place.ok(['snapshots'])).toContain(mountpoint);
  expect(await place.try(['rm', 'mounted'])).toMatchObject({ code: 6 });
  await place.unmount(mountpoint);
  await place.unmount(readOnly);
  await place.ok(['rm', 'mounted']);
});

test('a commit that is killed leaves the store as it was', { timeout: 120_000 }, async () => {
  const own = new Workplace();
  try {
    await own.ok(['import', join(place.folder, 'image.tar'), '--name', 'app']);
    const { upper } = await create('app', 'killed', own.root);
    for (let i = 0; i < 8; i++) writeFileSync(join(upper, `${i}`), randomBytes(4_000_000));
    const before = storeListing(own.root);
    for (const delay of [150, 300, 450, 600, 900]) {
      const child = spawn(process.execPath, [CLI, 'commit', 'killed', 'made'], { env: { ...process.env, ...own.env } });
      const ended = once(child, 'close');
      await sleep(delay);
      child.kill('SIGKILL');
      await ended;
      // Opening the store sweeps.
      expect(await own.ok(['images', '-q'])).toMatch(/^app:latest\n(made:latest\n)?$/);
      await own.try(['rmi', 'made']);
      expect(storeListing(own.root)).toEqual(before);
    }
    await own.ok(['commit', 'killed', 'made']);
    expect(await own.ok(['cat', 'made', '/etc/motd'])).toBe('hello\n');
  } finally {
    await own.remove();
  }
});
