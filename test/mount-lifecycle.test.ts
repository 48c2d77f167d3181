/** How mounts begin and end: refusals, unmounting, dead servers, other processes, other users, very large folders. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, type TestContext } from 'vitest';
import { mount, spawnServer } from '../packages/layerfs/dist/mount/mount.js';
import { cleanStale, findMount, listMounts } from '../packages/layerfs/dist/mount/registry/mounts.js';
import { BusyError } from '../packages/layerfs/dist/mount/registry/detach.js';
import { unmount } from '../packages/layerfs/dist/mount/unmount.js';
import { missing, need } from './support/needs.js';
import { TRANSPORTS, type Transport } from './support/transports.js';
import { TreeSource } from './support/tree-source.js';

const reason = missing('root', 'fuse');
if (reason !== undefined) console.warn(`skipped: how mounts begin and end: ${reason}`);

function isMounted(folder: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${folder} `);
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await setTimeout(10);
  expect(condition()).toBe(true);
}

async function refused(promise: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  const error: unknown = await promise.catch((caught: unknown) => caught);
  expect(error).toMatchObject({ name: 'LayerfsError', code });
  expect((error as Error).message).toMatch(message);
}

describe.skipIf(reason !== undefined).each(TRANSPORTS)('mounts by %s', (transport) => {
  const by = { transport };
  const native = transport === 'fuse-native';
  let source: TreeSource;
  beforeEach(async () => {
    source = new TreeSource();
    source.add('dir', { mode: 0o040755 }).add('dir/file', { mode: 0o100644, content: 'hello' });
    await source.finish();
  });
  afterEach(async () => {
    for (const { mountpoint } of listMounts(source.root)) await unmount(source.root, mountpoint, { lazy: true });
    source.remove();
  });
  const entries = (): string[] => readdirSync(join(source.root, 'mounts'));

  test('a background server is listed, found by path, and gone after unmount', async () => {
    const folder = source.newFolder();
    const info = await spawnServer(source, 'debian:latest', folder, by);
    expect(readFileSync(join(folder, 'dir/file'), 'utf8')).toBe('hello');
    expect(listMounts(source.root)).toEqual([{ ...info, state: 'ready' }]);
    expect(info.pid).not.toBe(process.pid);
    expect(findMount(source.root, join(folder, 'dir/none'))).toMatchObject({ inside: '/dir/none', mount: info });
    expect(findMount(source.root, source.folder)).toBeUndefined();
    expect((await unmount(source.root, folder)).id).toBe(info.id);
    expect(isMounted(folder)).toBe(false);
    expect(entries()).toEqual([]);
  });

  test('a mount of this process ends with unmount', async () => {
    const folder = source.newFolder();
    const mounted = await mount(source, 'a', folder, by);
    // fuse-native answers in a main thread only, which is a child's.
    expect(mounted.info.pid === process.pid).toBe(!native);
    const { stdout } = spawnSync('cat', [join(folder, 'dir/file')], { encoding: 'utf8' });
    expect(stdout).toBe('hello');
    await mounted.unmount();
    await mounted.finished;
    expect(entries()).toEqual([]);
  });

  test('a mount of this process leaves no descriptor open', async () => {
    const open = (): number => readdirSync('/proc/self/fd').length;
    const round = async (): Promise<void> => {
      const mounted = await mount(source, 'a', source.newFolder(), by);
      spawnSync('cat', [join(mounted.info.mountpoint, 'dir/file')]);
      await mounted.unmount();
    };
    // What the first one loads stays.
    await round();
    const before = open();
    for (let i = 0; i < 3; i++) await round();
    // Those of a thread or process that has just ended may be there for a moment.
    await expect.poll(open, { timeout: 10_000 }).toBeLessThanOrEqual(before);
  });

  test('a process that ends takes its own mounts away', async () => {
    const library = new URL('../packages/layerfs/dist/mount/mount.js', import.meta.url).href;
    const image = JSON.stringify(await source.tree('a'));
    const script = (folder: string): string => `import { mount } from ${JSON.stringify(library)};
      const source = { root: ${JSON.stringify(source.root)}, paths: ${JSON.stringify(source.paths)},
        tree: () => Promise.resolve(${image}), shared: (action) => action() };
      await mount(source, 'a', ${JSON.stringify(folder)}, ${JSON.stringify(by)});
      process.exit(3);`;
    // More than once: Node stops the serving thread wherever it is, and one within a call of ours used to end in a fatal error.
    for (let i = 0; i < 12; i++) {
      const folder = source.newFolder();
      const result = spawnSync(process.execPath, ['--input-type=module', '-e', script(folder)], {
        encoding: 'utf8',
        timeout: 20_000,
      });
      expect([result.status, result.stderr]).toEqual([3, '']);
      expect(isMounted(folder)).toBe(false);
    }
  }, 60_000);

  test.each(['SIGTERM', 'SIGINT'] as const)('%s unmounts', async (signal) => {
    const folder = source.newFolder();
    const { pid } = await spawnServer(source, 'a', folder, by);
    process.kill(pid, signal);
    await until(() => !isMounted(folder) && entries().length === 0);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('umount by anybody ends the server', async () => {
    const folder = source.newFolder();
    await spawnServer(source, 'a', folder, by);
    execFileSync('umount', [folder]);
    await until(() => entries().length === 0);
    const own = await mount(source, 'a', folder, by);
    execFileSync('umount', [folder]);
    await own.finished;
    expect(entries()).toEqual([]);
  });

  test('a busy mount stays, and the error says who holds it; lazily it goes when they let go', async () => {
    const folder = source.newFolder();
    await spawnServer(source, 'a', folder, by);
    const holder = spawn('sh', ['-c', 'exec 5< file; echo ready; read line'], {
      cwd: join(folder, 'dir'),
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    await once(holder.stdout, 'data');
    const error: unknown = await unmount(source.root, folder).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(BusyError);
    expect(error).toMatchObject({ code: 'failed-precondition' });
    expect((error as Error).message).toContain(`${String(holder.pid)} (sh -c exec 5< file`);
    expect((error as BusyError).holders.map((each) => each.what)).toEqual(['cwd', 'fd 5']);
    expect(isMounted(folder)).toBe(true);
    await unmount(source.root, folder, { lazy: true });
    expect(isMounted(folder)).toBe(false);
    expect(readFileSync(`/proc/${String(holder.pid)}/fd/5`, 'utf8')).toBe('hello');
    holder.stdin.end('\n');
    await once(holder, 'exit');
    await until(() => entries().length === 0);
  });

  test('what a killed server leaves is seen, cleaned, and can be mounted over', async () => {
    const folder = source.newFolder();
    for (const next of ['unmount', 'clean', 'mount'] as const) {
      const { pid } = await spawnServer(source, 'a', folder, by);
      process.kill(pid, 'SIGKILL');
      await until(() => listMounts(source.root)[0]?.state === 'dead');
      expect(() => lstatSync(folder)).toThrow(/ENOTCONN/);
      expect(findMount(source.root, join(folder, 'dir'))).toMatchObject({ inside: '/dir', mount: { state: 'dead' } });
      if (next === 'unmount') await unmount(source.root, folder);
      else if (next === 'clean') await cleanStale(source.root);
      else await spawnServer(source, 'a', folder, by);
      expect(readdirSync(folder)).toEqual(next === 'mount' ? ['dir'] : []);
      expect(entries().length).toBe(next === 'mount' ? 1 : 0);
    }
  });

  test.each(['spawn', 'worker'])('refusals say what is wrong and leave nothing behind (%s)', async (how) => {
    const start = (folder: string, from = source): Promise<unknown> =>
      how === 'spawn' ? spawnServer(from, 'a', folder, by) : mount(from, 'a', folder, by);
    const folder = source.newFolder();
    writeFileSync(join(source.folder, 'plain'), '');
    await refused(start(join(source.folder, 'none')), 'not-found', /none does not exist; make it with mkdir/);
    await refused(start(join(source.folder, 'plain')), 'invalid-argument', /plain is not a folder/);
    await refused(start(join(source.folder, 'plain/x')), 'invalid-argument', /is not a folder/);
    const broken = new TreeSource();
    writeFileSync((await broken.finish().then((each) => each.tree('a'))).path, 'not a tree at all');
    await refused(start(folder, broken), 'corrupt', /./);
    expect(readdirSync(join(broken.root, 'mounts'))).toEqual([]);
    broken.remove();
    await spawnServer(source, 'a', folder, by);
    await refused(start(folder), 'already-exists', /a is already mounted on/);
    expect(entries().length).toBe(1);
    await refused(unmount(source.root, source.folder), 'not-found', /Nothing is mounted/);
    await refused(unmount(source.root, '/proc'), 'not-found', /not a layerfs mount \(proc\)/);
    const other = new TreeSource();
    await refused(unmount(other.root, folder), 'not-found', /from another store/);
    other.remove();
  });

  test('without rights the reason reaches the caller', async (context) => {
    need(context, 'setpriv');
    const folder = source.newFolder();
    const result = asNobody(context, source, folder, { useDevice: false, transport });
    expect(result).toMatch(/permission-denied|unavailable/);
    expect(isMounted(folder)).toBe(false);
  });

  test('a user without root mounts through fusermount3', (context) => {
    need(context, 'setpriv', 'unshare', 'fusermount3');
    const folder = source.newFolder();
    expect(asNobody(context, source, folder, { useDevice: true, transport })).toBe(
      `${native ? 'fuse-native' : 'fusermount3'} passthrough=false hello EROFS unmounted`,
    );
  });
});

// In a mount namespace of its own, where a device node that everybody may open covers /dev/fuse.
function asNobody(
  context: TestContext,
  source: TreeSource,
  folder: string,
  { useDevice, transport }: { useDevice: boolean; transport: Transport },
): string {
  const uid = 65_534;
  const node = join(source.folder, 'fuse-node');
  mkdirSync(join(source.root, 'mounts'), { recursive: true });
  for (const path of [source.folder, source.root, join(source.root, 'mounts'), folder]) chownSync(path, uid, uid);
  chmodSync(source.folder, 0o755);
  const script = fileURLToPath(new URL('support/mount-as-user.mjs', import.meta.url));
  const readable = spawnSync('setpriv', [
    '--reuid',
    String(uid),
    '--clear-groups',
    process.execPath,
    '--check',
    script,
  ]);
  if (readable.status !== 0) context.skip('another user cannot read this checkout');
  const setup = useDevice ? `mknod -m 666 ${node} c 10 229 && mount --bind ${node} /dev/fuse && ` : '';
  const program = `${setup}exec setpriv --reuid ${String(uid)} --regid ${String(uid)} --clear-groups "$@"`;
  const result = spawnSync(
    'unshare',
    [
      '-m',
      '--propagation',
      'slave',
      'sh',
      '-ec',
      program,
      'sh',
      process.execPath,
      script,
      source.root,
      folder,
      transport,
    ],
    {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] ?? '', HOME: source.folder },
      timeout: 30_000,
    },
  );
  return (result.stdout + result.stderr).trim();
}

describe.skipIf(reason !== undefined).each(TRANSPORTS)('the memory of a server by %s', (transport) => {
  test('is without what only starting up needed, soon after that', async () => {
    const source = new TreeSource();
    source.add('file', { mode: 0o100644, content: 'hello' });
    await source.finish();
    const folder = source.newFolder();
    const { pid } = await spawnServer(source, 'small', folder, { transport });
    try {
      // Of files: node itself and its libraries. Started only, it has 40 MB of them.
      const mapped = (): number =>
        Number(/^RssFile:\s+(\d+)/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1]) / 1024;
      await until(() => mapped() < 20);
      expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('hello');
    } finally {
      await unmount(source.root, folder);
      source.remove();
    }
  });
});

describe.skipIf(reason !== undefined)('a folder of a million entries', () => {
  test('is mounted and listed', async () => {
    const source = new TreeSource();
    const big = source.builder.addInode({ mode: 0o040755, uid: 0, gid: 0, mtimeSec: 0 });
    source.builder.link(1, 'big', big);
    for (let i = 0; i < 1_000_000; i++) {
      const ino = source.builder.addInode({ mode: 0o100644, uid: 0, gid: 0, mtimeSec: i });
      source.builder.link(big, `file-${String(i)}`, ino);
    }
    await source.finish();
    const folder = source.newFolder();
    const before = performance.now();
    const { pid } = await spawnServer(source, 'million', folder);
    console.log(`mounted a million entries in ${(performance.now() - before).toFixed(0)} ms`);
    try {
      const names = readdirSync(join(folder, 'big'));
      expect([names.length, new Set(names).size]).toEqual([1_000_000, 1_000_000]);
      expect(lstatSync(join(folder, 'big/file-765432')).mtimeMs).toBe(765_432_000);
      expect(existsSync(join(folder, 'big/file-1000000'))).toBe(false);
      const memory = readFileSync(`/proc/${String(pid)}/smaps_rollup`, 'utf8');
      console.log(`the server after the walk: ${memory.match(/^(Rss|Pss|Anonymous):.*/gm)?.join(', ') ?? ''}`);
    } finally {
      await unmount(source.root, folder);
      source.remove();
    }
  }, 180_000);
});
