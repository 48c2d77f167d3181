/** The command as users and scripts meet it: what it prints, its exit codes, pipes, signals, and what it leaves behind. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testImage } from './images/index.js';
import { tarOf } from './images/tar.js';
import { CLI, layerfs, type CliResult } from './support/cli.js';
import { Workplace } from './support/mounted.js';
import { need } from './support/needs.js';
import { mountsBelow, storeListing } from './support/store-listing.js';

const place = new Workplace();
let mini = '';
beforeAll(async () => {
  mini = (await testImage('mini')).path;
  await place.ok(['import', mini, '--name', 'mini']);
});
afterAll(() => place.remove());

async function json<T>(...args: string[]): Promise<T> {
  return JSON.parse(await place.ok([...args, '--json'])) as T;
}

/** Starts a command that goes on for a while; `ended` is its code or signal. */
function start(args: string[]): {
  said: () => string;
  kill: (signal: NodeJS.Signals) => void;
  ended: Promise<unknown>;
} {
  const child = spawn(process.execPath, [CLI, ...args], { env: { ...process.env, ...place.env }, stdio: 'pipe' });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  }
  const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal)));
  return { said: () => said, kill: (signal) => child.kill(signal), ended };
}

describe('what went wrong', () => {
  const cases: [what: string, args: () => string[], code: number, says: RegExp][] = [
    ['an unknown command', () => ['bogus'], 2, /unknown command 'bogus'/],
    ['an unknown option', () => ['images', '--bogus'], 2, /unknown option '--bogus'\n\(layerfs images --help/],
    ['no such image', () => ['tree', 'nope'], 3, /cannot list nope: no image nope:latest in the store/],
    ['no such path', () => ['cat', 'mini', '/nope'], 3, /cannot print \/nope of mini: /],
    ['a folder as file', () => ['cat', 'mini', '/etc'], 4, /cannot print \/etc of mini: \/etc is a folder/],
    ['no such input', () => ['import', join(place.folder, 'none')], 3, /cannot import .*none: no such file/],
    ['a bad name', () => ['import', mini, '--name', 'BAD NAME'], 4, /cannot import .*: not an image name: "BAD NAME"/],
    ['a bad tag', () => ['tag', 'mini', 'a:b:c'], 4, /cannot tag mini: /],
    ['a bad platform', () => ['import', mini, '--platform', 'x/y/z/w'], 4, /platform/],
    ['a checkout over files', () => ['checkout', 'mini', place.root], 1, /is not empty.*\n {2}name a folder/],
    ['an export over files', () => ['export', 'mini', place.root], 1, /is not empty.*\n {2}name a file or folder/],
    ['nothing mounted there', () => ['unmount', place.folder], 3, /cannot unmount .*: nothing is mounted on/],
    ['a path in no mount', () => ['explain', '/etc/passwd'], 3, /is in no mount of this store\n {2}layerfs mounts/],
    ['no mountpoint', () => ['mount', 'mini', join(place.folder, 'none')], 3, /does not exist; make it with mkdir/],
    ['a store that is a file', () => ['--root', '/etc/passwd', 'images'], 4, /\/etc\/passwd: not a folder/],
    ['a store in a place for none', () => ['--root', '/proc/store', 'images'], 3, /\/proc\/store/],
  ];
  test.each(cases)('%s', async (_, args, code, says) => {
    const before = storeListing(place.root);
    const result = await place.try(args());
    expect(result).toMatchObject({ code, stdout: '' });
    expect(result.stderr).toMatch(says);
    expect(result.stderr).toMatch(/^layerfs: /);
    expect(result.stderr).not.toMatch(/^ +at /m);
    expect(storeListing(place.root)).toEqual(before);
    expect(mountsBelow(place.folder)).toEqual([]);
  });

  test("a store that is somebody else's", async (context) => {
    need(context, 'root');
    chmodSync(place.folder, 0o711);
    const result = await place.try(['images'], { uid: 65534 });
    expect(result).toMatchObject({ code: 5, stdout: '' });
    expect(result.stderr).toMatch(/cannot list the images: no right to use the store .*--root/);
  });

  test('LAYERFS_DEBUG says where from', async () => {
    const { stderr } = await place.try(['tree', 'nope'], { env: { LAYERFS_DEBUG: '1' } });
    expect(stderr).toMatch(/^ +at /m);
  });
});

describe('what is printed', () => {
  test('help and version need no store', async () => {
    const env = { LAYERFS_ROOT: '/proc/store' };
    expect((await layerfs(['--help'], { env })).stdout).toMatch(/Usage: layerfs[^]*Examples:[^]*Exit codes: 0 done/);
    expect((await layerfs(['import', '--help'], { env })).stdout).toMatch(/--max-layer-size <size>[^]*--root <folder>/);
    expect((await layerfs(['--version'], { env })).stdout).toMatch(/^layerfs \d+\.\d+\.\d+ \(Node\.js 2\d/);
  });

  test('images in JSON, for people and for scripts', async () => {
    await place.ok(['tag', 'mini', 'other:1']);
    const images = await json<{ name: string; digest: string; layers: number }[]>('images');
    expect(images.map(({ name, layers }) => [name, layers])).toEqual([
      ['mini:latest', 3],
      ['other:1', 3],
    ]);
    expect(await place.ok(['images', '-q'])).toBe('mini:latest\nother:1\n');
    expect(await place.ok(['images'])).toMatch(/^NAME +IMAGE +PLATFORM.*\nmini:latest +[0-9a-f]{12} /);
    const digest = images[0]?.digest ?? '';
    expect((await json<{ digest: string }>('inspect', digest.slice(7, 19))).digest).toBe(digest);
    expect(await json('history', 'mini')).toMatchObject([{ empty: true }, { empty: false }, {}, {}]);
    expect(await json('du')).toMatchObject({ images: [{ digest, shared: 0 }], blobs: { count: 5 } });
    expect(await place.ok(['rmi', 'other:1'])).toBe('untagged other:1\n');
  });

  test('an import says in one line what it did; what was there is not read again', async () => {
    expect(await place.ok(['import', mini, '--name', 'again'])).toMatch(
      /^imported again:latest [0-9a-f]{12} \(linux\/\w+\), 3 layers, all in the store already\n$/,
    );
    expect(await place.ok(['import', mini, '--name', 'again', '-q'])).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    expect(await json('import', mini, '--name', 'again')).toMatchObject({
      images: [{ name: 'again:latest', layers: [{ reused: true }, { reused: true }, { reused: true }] }],
      newObjects: 0,
    });
    await place.ok(['rmi', 'again']);
  });

  test('a tree, with names that are not UTF-8, and where each entry is from', async () => {
    const lines = (await place.ok(['tree', 'mini', '--json'])).trimEnd().split('\n');
    const entries = lines.map((line) => JSON.parse(line) as { path: string; layer: string; digest?: string });
    expect(entries[0]).toMatchObject({ path: '/', mode: expect.stringMatching(/^d/) as unknown });
    expect(entries.some(({ path }) => /\\x[89a-f][0-9a-f]/.test(path))).toBe(true);
    expect(new Set(entries.map(({ path }) => path)).size).toBe(entries.length);
    expect(await place.ok(['tree', 'mini', '/etc/hostname', '--layers'])).toMatch(
      /^[0-9a-f]{12} {2}-rw-r--r-- \d+:\d+ +8 \/etc\/hostname\n$/,
    );
    expect(await place.ok(['cat', 'mini', '/etc/hostname'])).toBe('changed\n');
  });

  test('what an image says of itself cannot steer the terminal', async () => {
    const layer = tarOf({ name: 'file', data: 'x' });
    const config = {
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(layer).digest('hex')}`] },
      history: [{ created_by: 'RUN \u001b]0;owned\u0007\u009b2J\n\tnext' }],
    };
    const manifest = [{ Config: 'c.json', RepoTags: ['s:1'], Layers: ['layer.tar'] }];
    const archive = join(place.folder, 'steering.tar');
    writeFileSync(
      archive,
      tarOf(
        { name: 'manifest.json', data: Buffer.from(JSON.stringify(manifest)) },
        { name: 'c.json', data: Buffer.from(JSON.stringify(config)) },
        { name: 'layer.tar', data: layer },
      ),
    );
    await place.ok(['import', archive]);
    for (const args of [
      ['history', 's:1'],
      ['explain', 's:1', '/file'],
      ['inspect', 's:1'],
      ['history', 's:1', '--json'],
    ]) {
      const shown = await place.ok(args);
      expect(shown).toContain('owned');
      expect(shown).not.toMatch(/(?!\n)\p{Cc}/u);
    }
    await place.ok(['rmi', 's:1']);
  });

  test('explain tells layers apart, with a mount and without', async (context) => {
    const text = await place.ok(['explain', 'mini', '/etc/hostname']);
    expect(text).toMatch(/^\/etc\/hostname\n[^]*from layer \d of 3 \([^]*content sha256:[^]*hides \(replaced\)/);
    need(context, 'fuse');
    const mountpoint = await place.mount('mini');
    try {
      expect(await place.ok(['explain', join(mountpoint, 'etc/hostname')])).toBe(text);
      expect(await json('mounts')).toMatchObject([{ mountpoint, ref: 'mini:latest', state: 'ready' }]);
      expect(await place.ok(['mounts', '-q'])).toBe(`${mountpoint}\n`);
      expect(await place.try(['rmi', 'mini'])).toMatchObject({
        code: 6,
        stderr: expect.stringMatching(/is mounted at[^]*--force/) as unknown,
      });
    } finally {
      await place.unmount(mountpoint);
    }
  });
});

describe('pipes and signals', () => {
  function piped(script: string): { status: number | null; stdout: string; stderr: string } {
    return spawnSync('bash', ['-c', `set -o pipefail; ${script}`], {
      encoding: 'utf8',
      env: { ...process.env, ...place.env, LAYERFS: `${process.execPath} ${CLI}` },
      timeout: 60_000,
    });
  }

  test.each(['tree mini', 'tree mini --json', 'export mini -', 'cat mini /bin/sh', 'images'])(
    '%s | head: quiet, whoever closes first',
    (args) => {
      const { status, stderr } = piped(`$LAYERFS ${args} | head -c 1 >/dev/null`);
      expect({ status, stderr: stderr.replace(/^exported .*\n/, '') }).toEqual({ status: 0, stderr: '' });
    },
  );

  test('through a pipe out and in again', async () => {
    const { status, stdout, stderr } = piped('$LAYERFS export mini - | $LAYERFS import - --name piped --json');
    expect({ status, stderr: stderr.replace(/^exported .*\n/, '') }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ images: [{ name: 'piped:latest', layers: [{}, {}, {}] }] });
    await place.ok(['rmi', 'piped']);
  });

  test('bad input on a pipe that stays open ends the command at once', async () => {
    const child = spawn(process.execPath, [CLI, 'import', '-'], {
      env: { ...process.env, ...place.env },
      stdio: 'pipe',
    });
    child.stdin.write('x'.repeat(100_000));
    child.stdin.on('error', () => undefined);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const code = await new Promise((resolve) => child.once('close', resolve));
    child.stdin.destroy();
    expect({ code, stderr }).toMatchObject({ code: 4, stderr: expect.stringContaining('not an image') as unknown });
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s ends an import that waits for its input, and leaves nothing',
    async (signal) => {
      const before = storeListing(place.root);
      const { kill, ended, said } = start(['import', '-', '--name', 'waiting']);
      await expect.poll(() => readdirSync(join(place.root, 'ingest')).length, { timeout: 20_000 }).toBeGreaterThan(0);
      kill(signal);
      expect(await ended).toBe(130);
      expect(said()).toBe('layerfs: interrupted\n');
      expect(storeListing(place.root)).toEqual(before);
    },
  );

  test.for(['SIGINT', 'SIGTERM'] as const)(
    '%s ends a mount in the foreground, also one in use',
    async (signal, context) => {
      need(context, 'fuse');
      const mountpoint = place.newFolder('foreground');
      const mount = start(['mount', 'mini', mountpoint, '--foreground']);
      await expect.poll(mount.said, { timeout: 20_000 }).toContain('is mounted on');
      const user = spawn('sleep', ['60'], { cwd: join(mountpoint, 'etc'), stdio: 'ignore' });
      try {
        expect(readFileSync(join(mountpoint, 'etc/hostname'), 'utf8')).toBe('changed\n');
        mount.kill(signal);
        await expect.poll(() => mountsBelow(mountpoint), { timeout: 20_000 }).toEqual([]);
      } finally {
        user.kill();
      }
      expect(await mount.ended).toBe(0);
      expect(await json('mounts')).toEqual([]);
    },
  );
});

describe('a server that was started for a mount that comes to nothing ends', () => {
  /** Processes whose environment has this: the command's, and what it started. */
  function processes(mark: string): string[] {
    return readdirSync('/proc').filter((pid) => {
      try {
        return (
          /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`LAYERFS_TEST_MARK=${mark}\0`)
        );
      } catch {
        // Ended meanwhile, or somebody else's.
        return false;
      }
    });
  }
  const refused: [what: string, args: () => string[], code: number][] = [
    ['no such image', () => ['mount', 'nope', place.newFolder('mnt')], 3],
    ['no mountpoint', () => ['mount', 'mini', join(place.folder, 'none')], 3],
    ['no store', () => ['mount', '--root', '/etc/passwd', 'mini', place.newFolder('mnt')], 4],
    ['an option that it cannot have', () => ['mount', 'mini', place.newFolder('mnt'), '--rw', '--name', '../x'], 4],
  ];
  test.each(refused)('%s', async (what, args, code) => {
    const env = { ...place.env, LAYERFS_TEST_MARK: what };
    expect((await layerfs(args(), { env })).code).toBe(code);
    await expect.poll(() => processes(what), { timeout: 5000 }).toEqual([]);
  });

  // Again, as a busy machine may be too slow to see the server before the command has ended.
  test('the command is killed', { retry: 4 }, async () => {
    const mark = 'killed';
    const folder = place.newFolder('mnt');
    const env = { ...process.env, ...place.env, LAYERFS_TEST_MARK: mark };
    const child = spawn(process.execPath, [CLI, 'mount', 'nope', folder], { env, stdio: 'ignore' });
    const ended = once(child, 'exit');
    await expect.poll(() => processes(mark).length, { interval: 1 }).toBe(2);
    child.kill('SIGKILL');
    expect(await ended).toEqual([null, 'SIGKILL']);
    await expect.poll(() => processes(mark), { timeout: 5000 }).toEqual([]);
  });
});

test('a command line without arguments shows the help and fails', async () => {
  const result: CliResult = await place.try([]);
  expect(result).toMatchObject({ code: 2, stdout: '' });
  expect(result.stderr).toMatch(/Usage: layerfs/);
});

test('a checkout names what it could not keep', async () => {
  const folder = join(place.folder, 'checkout');
  const result = await json<{ entries: number; bytes: number; notes: string[] }>('checkout', 'mini', folder);
  expect(result.entries).toBeGreaterThan(200);
  expect(existsSync(join(folder, 'etc/hostname'))).toBe(true);
  if (process.getuid?.() !== 0) expect(result.notes.join('\n')).toMatch(/only root/);
  mkdirSync(join(place.folder, 'inner'));
  const again = await place.try(['checkout', 'mini', folder]);
  expect(again.code).toBe(1);
});
