/**
 * The server of a writable mount is killed (SIGKILL) at random moments while programs write, LAYERFS_KILLS times: the snapshot mounts again,
 * has all that was done before, nothing that was half done, and is for kernel overlayfs what it is for us.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { compareFolders, judge, report, type Excuse } from './compare/compare.js';
import { snapshot, type Snapshot } from './compare/snapshot.js';
import { holderOf, killedAt, stepsOf } from './support/union-steps.js';
import { noise } from './images/odd-lower.js';
import { tarOf } from './images/tar.js';
import { CRASH_CHECK, CRASH_LOAD } from './support/union-crash.js';
import { missing, need } from './support/needs.js';
import { attempt, ended, hasLoop, loopDisk, PYTHON, python, sh, umount, UnionPlace } from './support/union-place.js';

const KILLS = Number(process.env['LAYERFS_KILLS'] ?? 15);
const SEED = Number(process.env['LAYERFS_KILLS_SEED'] ?? Date.now() % 1_000_000);
/** After so many kills a new snapshot is begun, as what was copied up is not copied up again. */
const KILLS_EACH = 4;
const MINUTES = 60_000;

const overlay = readFileSync('/proc/filesystems', 'utf8').includes('\toverlay\n')
  ? undefined
  : 'needs kernel overlayfs';
const reason = missing('root', 'fuse', 'python3', 'getfattr', 'mkfs.ext4') ?? overlay;
if (reason !== undefined) console.warn(`skipped: killed servers: ${reason}`);
const noLoop = reason === undefined && !(await hasLoop());
if (noLoop) console.warn('skipped: killed servers: needs loop devices');

/** The same numbers for the same seed. */
function random(seed: number): () => number {
  let at = seed;
  return () => {
    at = (Math.imul(at, 1664525) + 1013904223) >>> 0;
    return at / 2 ** 32;
  };
}

describe.skipIf(reason !== undefined || noLoop)('a killed server', () => {
  const place = new UnionPlace({ disk: true });
  let disk = '';
  let env: Record<string, string> = {};
  let checkout = '';
  let mountpoint = '';
  const ok = (...args: string[]): Promise<string> => place.ok(args, { env });

  beforeAll(async () => {
    disk = join(place.folder, 'disk');
    env = { LAYERFS_ROOT: join(disk, 'store') };
    checkout = join(disk, 'lower');
    await loopDisk(join(place.folder, 'disk.img'), disk, '4G');
    const files = (folder: string, count: number, prefix: string, size: number) => [
      { name: `${folder}/` },
      ...Array.from({ length: count }, (_, i) => ({ name: `${folder}/${prefix}${i}`, data: noise(size, i + size) })),
    ];
    const folders = (folder: string, count: number, prefix: string) =>
      Array.from({ length: count }, (_, i) => [
        ...files(`${folder}/${prefix}${i}`, 3, 'f', 100 + i),
        ...files(`${folder}/${prefix}${i}/sub`, 2, 'f', 200 + i),
      ]).flat();
    const image = join(place.folder, 'image.tar');
    const lower = [
      files('files', 10, 'f', 3000),
      files('modes', 40, 'm', 20_000),
      files('big', 40, 'b', 600_000),
      files('gone', 30, 'g', 500),
      { name: 'moving/' },
      folders('moving', 6, 'm'),
      { name: 'trees/' },
      folders('trees', 8, 't'),
    ].flat();
    writeFileSync(image, tarOf(...lower));
    await ok('import', image, '--name', 'lower');
    await ok('checkout', 'lower', checkout);
    mountpoint = place.newFolder('mnt');
  });
  afterAll(async () => {
    await attempt('umount', ['-l', join(disk, 'kernel')], { seconds: 20 });
    await place.try(['unmount', '--lazy', mountpoint], { env });
    await umount(disk);
    await place.remove();
  });

  async function server(): Promise<number> {
    const mounts = JSON.parse(await ok('mounts', '--json')) as { mountpoint: string; pid: number }[];
    return mounts.find((mount) => mount.mountpoint === mountpoint)!.pid;
  }

  /** Starts the load, kills the server after a while, and waits for the load's end. */
  async function killed(state: string, logs: string, seed: number, after: number): Promise<void> {
    const pid = await server();
    const args = ['-k', '5', '60', PYTHON, '-c', CRASH_LOAD, mountpoint, state, logs, String(seed)];
    const load = spawn('timeout', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    load.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    const end = once(load, 'close');
    await once(load.stdout, 'data');
    await sleep(after);
    process.kill(pid, 'SIGKILL');
    const [code] = (await end) as [number | null];
    await ended(pid);
    expect({ code, said }).toEqual({ code: 0, said: 'ready\n' });
  }

  /** Kernel overlayfs over a copy of the upper folder shows the same. */
  async function sameForTheKernel(upper: string): Promise<void> {
    const [copy, work, merged] = ['copy', 'work', 'kernel'].map((name) => join(disk, name));
    mkdirSync(work);
    mkdirSync(merged, { recursive: true });
    await sh('cp -a "$1" "$2"', [upper, copy]);
    const options = `lowerdir=${checkout},upperdir=${copy},workdir=${work},redirect_dir=on,metacopy=on,index=off,xino=off`;
    await sh('mount -t overlay overlay -o "$1" "$2"', [options, merged]);
    try {
      const { unexplained } = await compareFolders(mountpoint, merged);
      expect(report(unexplained, ['layerfs', 'overlayfs'])).toBe('');
    } finally {
      await umount(merged);
      rmSync(copy, { recursive: true });
      rmSync(work, { recursive: true });
    }
  }

  async function mountAgain(name: string, round: number): Promise<void> {
    // Cleaned by the next mount itself, by unmounting, or lazily.
    if (round % 3 !== 0) await ok('unmount', ...(round % 3 === 1 ? ['--lazy'] : []), mountpoint);
    await ok('mount', 'lower', mountpoint, '--rw', '--name', name, ...(round % 4 === 3 ? ['--no-passthrough'] : []));
  }

  test(`${KILLS} times`, { timeout: 3 * MINUTES + KILLS * 30_000 }, async () => {
    const next = random(SEED);
    let done = 0;
    for (let round = 0; round < KILLS; round++) {
      const name = `s${Math.floor(round / KILLS_EACH)}`;
      const state = join(place.folder, `${name}.json`);
      const logs = join(place.folder, `logs-${round}`);
      try {
        if (round % KILLS_EACH === 0) {
          if (round > 0) await ok('unmount', mountpoint);
          await ok('mount', 'lower', mountpoint, '--rw', '--name', name);
          await python(CRASH_CHECK, [mountpoint, state, logs]);
        }
        mkdirSync(logs);
        await killed(state, logs, Math.floor(next() * 1e6), 20 + Math.floor(next() ** 2 * 900));
        await mountAgain(name, round);
        done += Number(await python(CRASH_CHECK, [mountpoint, state, logs]));
        const snapshots = JSON.parse(await ok('snapshots', '--json')) as { name: string; upper: string }[];
        await sameForTheKernel(snapshots.find((snapshot) => snapshot.name === name)!.upper);
      } catch (error) {
        throw new Error(`LAYERFS_KILLS_SEED=${SEED}, kill ${round + 1}`, { cause: error });
      }
      rmSync(logs, { recursive: true });
    }
    await ok('unmount', mountpoint);
    expect(done).toBeGreaterThan(KILLS);
    console.log(`${KILLS} kills, ${done} changes`);
  });

  // Size, content and mark cannot change in one step, so a new file takes its place: here the server dies before that.
  test('while it cuts a file of which only the mode was changed before', { timeout: MINUTES }, async (context) => {
    need(context, 'strace');
    await ok('mount', 'lower', mountpoint, '--rw', '--name', 'cut');
    const pid = await server();
    await sh('chmod 600 "$1/big/b0"', [mountpoint]);
    const args = ['30', 'strace', '-f', '-p', String(pid), '-e', 'inject=renameat2:signal=KILL'];
    const trace = spawn('timeout', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const traced = once(trace, 'close');
    await once(trace.stderr, 'data');
    // truncate(2): the program of that name opens the file for writing first.
    await attempt(PYTHON, ['-c', 'import os,sys; os.truncate(sys.argv[1], 300000)', join(mountpoint, 'big/b0')]);
    await traced;
    await ended(pid);
    await ok('unmount', mountpoint);
    await ok('mount', 'lower', mountpoint, '--rw', '--name', 'cut');
    const said = await sh('stat -c %s "$1/big/b0"; cat "$1/big/b0" | wc -c', [mountpoint]);
    await ok('unmount', mountpoint);
    const [size, read] = said.split('\n');
    expect(read).toBe(size);
  });
});

const noTrace = reason ?? missing('strace');
if (noTrace !== undefined) console.warn(`skipped: killed at each step: ${noTrace}`);

describe.skipIf(noTrace !== undefined)('a server that is killed at each step of one change', () => {
  const place = new UnionPlace();
  let tmpfs = '';
  const at = (name: string): string => join(tmpfs, name);
  let mountpoint = '';
  const WHEN: Excuse = { reason: 'a folder may have been touched', matches: ({ field }) => field === 'mtime' };

  beforeAll(async () => {
    mountpoint = place.newFolder('mnt');
    tmpfs = join(place.folder, 'tmpfs');
    mkdirSync(tmpfs);
    await sh('mount -t tmpfs -o size=100m tmpfs "$1"', [tmpfs]);
    const script = `cd "$1"; mkdir lower merged; cd lower; mkdir -p dir/sub other/sub empty; for i in a b; do echo $i > $i; echo $i > dir/$i; echo $i > dir/sub/$i; done
      echo hard > hard1; ln hard1 hard2; ln hard1 dir/hard3; echo x > other/sub/x; head -c 200000 /dev/urandom > large; ln -s a link`;
    await sh(script, [tmpfs]);
  });
  afterAll(async () => {
    await umount(mountpoint);
    await umount(tmpfs);
    await place.remove();
  });

  afterEach(async () => {
    await attempt('umount', ['-l', mountpoint]);
  });

  async function start(fresh: boolean, prepare = ''): Promise<number> {
    if (fresh) await sh('cd "$1"; rm -rf upper work; mkdir upper work', [tmpfs]);
    const options = `lowerdir=${at('lower')},upperdir=${at('upper')},workdir=${at('work')}`;
    const { code, stderr } = await place.fuse(options, mountpoint);
    if (code !== 0) throw new Error(stderr);
    if (prepare !== '') await sh(`cd "$1"; ${prepare}`, [mountpoint]);
    return holderOf(at('work'));
  }

  async function seenByTheKernel(): Promise<Snapshot> {
    const options = `lowerdir=${at('lower')},upperdir=${at('upper')},workdir=${at('work')},redirect_dir=on,metacopy=on,index=off,xino=off`;
    await sh('mount -t overlay overlay -o "$1" "$2"', [options, at('merged')]);
    try {
      return await snapshot(at('merged'));
    } finally {
      await umount(at('merged'));
    }
  }

  const exchange = `${PYTHON} -c "import ctypes; ctypes.CDLL(None).renameat2(-100, b'a', -100, b'dir', 2)"`;
  const changes: [what: string, script: string, prepare?: string][] = [
    ['a mode', 'chmod 600 a'],
    ['a file goes', 'rm a'],
    ['a folder moves', 'mv dir moved'],
    ['a file is written to', 'echo x >> large'],
    ['a file is written to, of which the mode was changed', 'echo x >> large', 'chmod 600 large'],
    ['a file moves', 'mv a c'],
    ['a file moves over another', 'mv a b'],
    ['a changed file moves into a folder', 'mv a dir/b', 'chmod 600 a'],
    ['one name more', 'ln a c'],
    ['a folder moves over an empty one', 'mv -T dir empty'],
    ['a folder moves into a changed one', 'mv dir other/sub', 'touch other/sub/y'],
    ['a folder is made where one was', 'mkdir dir', 'rm -r dir'],
    ['a link is made where a file was', 'ln -s x a', 'rm a'],
    ['an emptied folder goes', 'rmdir dir', 'rm -r dir/*'],
    ['an empty folder goes', 'rmdir empty'],
    ['file and folder change places', exchange],
    ['an attribute', 'setfattr -n user.x -v y a'],
    ['a file of several names gets a mode', 'chmod 600 hard1'],
    ['a file of several names moves', 'mv hard1 hard4'],
    ['one of several names goes', 'rm hard1'],
  ];
  /** All take some minutes. */
  const many = KILLS > 15;

  test.each(many ? changes : changes.slice(0, 2))('%s', { timeout: 10 * MINUTES }, eachStep);

  async function eachStep(_: string, script: string, prepare?: string): Promise<void> {
    const pid = await start(true, prepare);
    const before = await snapshot(mountpoint);
    const steps = await stepsOf(pid, script, mountpoint, join(place.folder, 'log'));
    const after = await snapshot(mountpoint);
    await umount(mountpoint);
    const wrong: string[] = [];
    for (const step of steps) {
      const at = `killed at ${step.name} ${step.count}`;
      await killedAt(await start(true, prepare), step, script, mountpoint);
      await attempt('umount', ['-l', mountpoint]);
      await start(false);
      const now = await snapshot(mountpoint);
      await umount(mountpoint);
      const [old, fresh] = [before, after].map((right) => judge(now, right, [WHEN]).unexplained);
      if (old.length > 0 && fresh.length > 0)
        wrong.push(`${at}: ${report(old, ['now', 'before'])}\n${report(fresh, ['now', 'after'])}`);
      const { unexplained } = judge(now, await seenByTheKernel());
      if (unexplained.length > 0) wrong.push(`${at}: ${report(unexplained, ['layerfs', 'overlayfs'])}`);
    }
    expect(wrong.join('\n')).toBe('');
    expect(steps.length).toBeGreaterThan(0);
  }
});
