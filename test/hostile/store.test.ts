/** A store under adverse conditions: a full disk, two importers at once, an importer killed in the middle. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { testImage } from '../images/index.js';
import { run } from '../images/oci.js';
import { CLI } from '../support/cli.js';
import { Workplace } from '../support/mounted.js';
import { need, needImage } from '../support/needs.js';
import { storeListing } from '../support/store-listing.js';

const place = new Workplace();
afterAll(() => place.remove());

/** The image can be exported: every digest is verified on the way, so its layers are whole. */
async function expectWhole(own: Workplace, ref: string): Promise<void> {
  await own.ok(['export', ref, join(own.newFolder('export'), 'out')]);
}

function contents(root: string): string[] {
  return storeListing(root).filter((name) => /^(objects|layers)\//.test(name));
}

test(
  'a full disk: a clear error, nothing left behind, and it works once there is room',
  { timeout: 300_000 },
  async (context) => {
    need(context, 'root');
    const { path } = await needImage(context, 'bench');
    const small = await testImage('mini');
    const own = new Workplace();
    mkdirSync(own.root);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'layerfs-test', own.root]);
    try {
      await own.ok(['import', small.path, '--name', 'small']);
      const before = storeListing(own.root);
      const { code, stderr } = await own.try(['import', path, '--name', 'large']);
      expect(stderr).toMatch(/no space left on the disk of the store/);
      expect(stderr).not.toMatch(/^ +at /m);
      expect(code).toBeGreaterThan(0);
      expect(storeListing(own.root)).toEqual(before);
      await expectWhole(own, 'small');
      await run('mount', ['-o', 'remount,size=2g', own.root]);
      await own.ok(['import', path, '--name', 'large']);
      expect(await own.ok(['images'])).toMatch(/large/);
    } finally {
      await run('umount', ['-l', own.root]);
      await own.remove();
    }
  },
);

test('four processes import the same image at once: all succeed, one copy', async () => {
  const { path } = await testImage('mini');
  await Promise.all([1, 2, 3, 4].map((number) => place.ok(['import', path, '--name', `same:${number}`])));
  const alone = new Workplace();
  await alone.ok(['import', path, '--name', 'same']);
  expect(contents(place.root)).toEqual(contents(alone.root));
  expect(readdirSync(join(place.root, 'ingest'))).toEqual([]);
  await alone.remove();
  await expectWhole(place, 'same:3');
});

test(
  'an importer killed in the middle leaves nothing that a later command does not sweep',
  { timeout: 300_000 },
  async (context) => {
    const { path } = await needImage(context, 'bench');
    const own = new Workplace();
    const small = await testImage('mini');
    await own.ok(['import', small.path, '--name', 'small']);
    const before = storeListing(own.root);
    for (const delay of [150, 1000]) {
      const child = spawn(process.execPath, [CLI, 'import', path, '--name', 'killed'], {
        env: { ...process.env, ...own.env },
        stdio: 'ignore',
      });
      await expect
        .poll(() => existsSync(join(own.root, 'ingest')) && readdirSync(join(own.root, 'ingest')).length, {
          timeout: 10_000,
        })
        .toBeGreaterThan(0);
      await new Promise((resolve) => setTimeout(resolve, delay));
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGKILL');
      await ended;
      expect(await own.ok(['images'])).not.toMatch(/killed/);
      // The next import sweeps, whatever it imports.
      await own.ok(['import', small.path, '--name', 'small']);
      expect(readdirSync(join(own.root, 'ingest'))).toEqual([]);
    }
    await own.try(['gc']);
    const after = storeListing(own.root).filter((name) => !name.startsWith('mounts'));
    expect(
      after.filter((name) => !before.includes(name)).filter((name) => !/^(blobs|layers|objects|chains)\b/.test(name)),
    ).toEqual([]);
    await own.ok(['import', path, '--name', 'whole']);
    await expectWhole(own, 'whole');
    await own.remove();
  },
);

test('an importer interrupted by Ctrl-C ends in order', async (context) => {
  const { path } = await needImage(context, 'bench');
  const own = new Workplace();
  await own.ok(['images']);
  const before = storeListing(own.root);
  const child = spawn(process.execPath, [CLI, 'import', path, '--name', 'stopped'], {
    env: { ...process.env, ...own.env },
    stdio: 'ignore',
  });
  await expect
    .poll(() => existsSync(join(own.root, 'ingest')) && readdirSync(join(own.root, 'ingest')).length, {
      timeout: 10_000,
    })
    .toBeGreaterThan(0);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  child.kill('SIGINT');
  expect(await ended).not.toBe(0);
  expect(storeListing(own.root).filter((name) => !before.includes(name))).toEqual([]);
  await own.remove();
});

test('a damaged object is noticed by export, not handed on', async () => {
  const own = new Workplace();
  await own.ok(['import', (await testImage('layers128')).path, '--name', 'image']);
  const objects = join(own.root, 'objects');
  const victim = readdirSync(objects, { recursive: true, encoding: 'utf8' }).find((name) => /^..\/.{62}$/.test(name))!;
  const damaged = join(objects, victim);
  await run('sh', [
    '-c',
    'chmod u+w "$1" && printf DAMAGE | dd of="$1" conv=notrunc status=none && chmod u-w "$1"',
    'sh',
    damaged,
  ]);
  expect(readFileSync(damaged, 'utf8')).toContain('DAMAGE');
  // Compressed blobs are given as they are; what is rebuilt from objects is checked against the diffID.
  await run(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { openStore } from 'layerfs'; const s = await openStore({ root: ${JSON.stringify(own.root)} }); await s.dropBlobs(); await s.close();`,
    ],
    { cwd: import.meta.dirname },
  );
  const { code, stderr } = await own.try(['export', 'image', join(own.folder, 'out')]);
  expect(code).toBeGreaterThan(0);
  expect(stderr).toMatch(/damaged|corrupt|does not match|digest/i);
  await own.remove();
});
