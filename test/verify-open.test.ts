/** Verification on opening: damaged content gives EIO and a line in the log. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { listMounts, mount, openStore, spawnServer, unmount, type Store } from 'layerfs';
import { tarOf } from '../packages/layerfs/dist/store/small-images.test-support.js';
import { missing } from './support/needs.js';
import { scratchFolder } from './support/scratch.js';

const reason = missing('root', 'fuse');
if (reason !== undefined) console.warn(`skipped: verification on opening: ${reason}`);

const LARGE = Buffer.alloc(24 << 20, 'large ');
const TAR = tarOf(
  { path: 'small', data: 'small\n' },
  { path: 'other', data: 'other\n' },
  { path: 'large', data: LARGE },
  { path: 'large-too', data: Buffer.concat([LARGE, Buffer.from('!')]) },
);

describe.skipIf(reason !== undefined)('mount --verify=open', () => {
  let folder: string;
  let store: Store;
  let mnt: string;
  beforeEach(async () => {
    folder = scratchFolder('layerfs-verify-');
    mnt = join(folder, 'mnt');
    mkdirSync(mnt);
    store = await openStore({ root: join(folder, 'store') });
    writeFileSync(join(folder, 'image.tar'), TAR);
    await store.import(join(folder, 'image.tar'), { name: 'app' });
  });
  afterEach(async () => {
    for (const { mountpoint } of listMounts(store.root)) await unmount(store.root, mountpoint, { lazy: true });
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const objectOf = (bytes: Uint8Array): string => store.paths.object(createHash('sha256').update(bytes).digest('hex'));
  function damage(bytes: Uint8Array): void {
    const path = objectOf(bytes);
    const spoilt = Buffer.from(bytes);
    spoilt[spoilt.length >> 1] ^= 1;
    chmodSync(path, 0o600);
    writeFileSync(path, spoilt);
    chmodSync(path, 0o444);
  }
  const log = (): string =>
    readdirSync(join(store.root, 'mounts'))
      .filter((name) => name.endsWith('.log'))
      .map((name) => readFileSync(join(store.root, 'mounts', name), 'utf8'))
      .join('');
  /** In another process: this one may be serving. */
  const cat = (name: string): { code: number | null; sum: string; error: string } => {
    const { status, stdout, stderr } = spawnSync('sha256sum', [join(mnt, name)], { encoding: 'utf8' });
    return { code: status, sum: stdout.slice(0, 64), error: stderr };
  };
  const sum = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

  const WAYS = [
    ['read-only, by passthrough', { passthrough: true }],
    ['read-only, through the server', { passthrough: false }],
    ['writable', { writable: true }],
    ['writable, without passthrough', { writable: true, passthrough: false }],
  ] as const;
  for (const [server, start] of [
    ['a background server', spawnServer],
    ['this process', mount],
  ] as const) {
    test.each(WAYS)(`%s, served by ${server}`, async (_, options) => {
      damage(Buffer.from('small\n'));
      damage(LARGE);
      await start(store, 'app', mnt, { ...options, verify: 'open' });
      expect(cat('other')).toMatchObject({ code: 0, sum: sum(Buffer.from('other\n')) });
      expect(cat('large-too')).toMatchObject({ code: 0, sum: sum(Buffer.concat([LARGE, Buffer.from('!')])) });
      for (const name of ['small', 'large']) {
        expect(cat(name)).toMatchObject({ code: 1, error: expect.stringContaining('Input/output error') as string });
      }
      expect(log()).toMatch(new RegExp(`object ${sum(LARGE)} is damaged \\(its content has sha256 [0-9a-f]{64}\\)`));
      // Repaired, by a new file in its place: read again without a new mount.
      const fresh = join(folder, 'fresh');
      writeFileSync(fresh, LARGE, { mode: 0o444 });
      renameSync(fresh, objectOf(LARGE));
      expect(cat('large')).toMatchObject({ code: 0, sum: sum(LARGE) });
      await unmount(store.root, mnt);
    });
  }

  test('copy-up checks, too', async () => {
    damage(Buffer.from('small\n'));
    damage(LARGE);
    await spawnServer(store, 'app', mnt, { writable: true, verify: 'open' });
    for (const name of ['small', 'large']) {
      const { status, stderr } = spawnSync('sh', ['-c', `echo more >> ${join(mnt, name)}`], { encoding: 'utf8' });
      expect([status === 0, stderr]).toEqual([false, expect.stringMatching(/(?:I.O|Input.output) error/) as string]);
    }
    expect(spawnSync('sh', ['-c', `echo more >> ${join(mnt, 'other')}`]).status).toBe(0);
    expect(readFileSync(join(mnt, 'other'), 'utf8')).toBe('other\nmore\n');
  });

  test('what was verified is verified again when its file was changed', async () => {
    await spawnServer(store, 'app', mnt, { verify: 'open' });
    expect(cat('large').code).toBe(0);
    damage(LARGE);
    // Its size is the same, its times are not.
    expect(cat('large').code).toBe(1);
  });

  test('without it, content is served as it is', async () => {
    damage(Buffer.from('small\n'));
    await spawnServer(store, 'app', mnt, {});
    expect(cat('small').code).toBe(0);
  });
});
