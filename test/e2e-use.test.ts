/** What people and programs do with a mounted image: walk it, pack it, run it, read it from many sides at once. */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, readSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ImageUnavailable, testImage } from './images/index.js';
import { run } from './images/oci.js';
import { BIG_SIZE, MILLION } from './images/synthetic.js';
import { Workplace } from './support/mounted.js';
import { missing, need, needImage } from './support/needs.js';
import { umociUnpack } from './support/umoci.js';

const place = new Workplace();
afterAll(() => place.remove());

/** A shell script's standard output, whatever the bytes. `$1`, `$2`… are the arguments. */
async function sh(script: string, ...args: string[]): Promise<string> {
  const { stdout } = await run('sh', ['-ec', script, 'sh', ...args], {
    encoding: 'latin1',
    maxBuffer: 1 << 28,
    env: { ...process.env, LC_ALL: 'C' },
  });
  return stdout;
}

function git(...args: string[]): string {
  const config = ['-c', 'safe.directory=*', '-c', 'user.name=t', '-c', 'user.email=t@example.org'];
  return execFileSync('git', [...config, ...args], {
    encoding: 'utf8',
    env: { ...process.env, GIT_CONFIG_NOSYSTEM: '1' },
  });
}

async function whyNoDebian(): Promise<string | undefined> {
  try {
    await testImage('debian');
    return missing('root', 'fuse', 'umoci');
  } catch (error) {
    if (error instanceof ImageUnavailable) return error.message;
    throw error;
  }
}

const noDebian = await whyNoDebian();
if (noDebian !== undefined) console.warn(`skipped: use of a mounted Debian: ${noDebian}`);

describe.skipIf(noDebian !== undefined)('a mounted Debian', () => {
  let mountpoint = '';
  let unpacked = { path: '', remove: (): void => undefined };
  beforeAll(async () => {
    const { path } = await testImage('debian');
    unpacked = await umociUnpack(path);
    await place.ok(['import', path, '--name', 'debian']);
    mountpoint = await place.mount('debian');
  });
  afterAll(() => unpacked.remove());

  /** Runs the script on the mount and on umoci's tree, one after the other. */
  const both = async (script: string): Promise<[string, string]> => [
    await sh(script, mountpoint),
    await sh(script, unpacked.path),
  ];

  test('diff -r finds nothing', async () => {
    // diff has no way to compare fifos and devices: it only says that both are such.
    const found = await sh(
      'diff -r --no-dereference "$1" "$2" | grep -av " is a .* while file .* is a " || true',
      mountpoint,
      unpacked.path,
    );
    expect(found).toBe('');
  });

  test('find prints the same', async () => {
    const [ours, theirs] = await both(
      'cd "$1"; find . -mindepth 1 ! -type d -printf "%p %y %m %U %G %s %n %l\\n" | sort',
    );
    expect(ours.length).toBeGreaterThan(300_000);
    expect(ours === theirs).toBe(true);
  });

  test('tar makes the same archive, bit for bit', async () => {
    // Without xattrs, which a filesystem lists in an order of its own (they are compared in e2e-umoci.test.ts), and
    // without the folder whose group is umoci's own doing.
    const [ours, theirs] = await both(
      'tar -c --sort=name --mtime=@0 --numeric-owner --exclude=odd/v/implied/deeper -C "$1" . | sha256sum',
    );
    expect(ours).toBe(theirs);
  });

  test('sha256sum of everything is the same', async () => {
    const [ours, theirs] = await both('cd "$1"; find . -type f -print0 | sort -z | xargs -0 sha256sum');
    expect(ours.split('\n').length).toBeGreaterThan(4000);
    expect(ours === theirs).toBe(true);
  });

  test('programs run in it: sh, python3, dpkg', async () => {
    expect(await sh('chroot "$1" /bin/sh -c "echo works; cd /etc && cat debian_version"', mountpoint)).toMatch(
      /^works\n12/,
    );
    expect(await sh('chroot "$1" python3 -c "import zlib; print(zlib.crc32(bytes(3)))"', mountpoint)).toBe(
      '4282505490\n',
    );
    const packages = await sh('chroot "$1" dpkg -l', mountpoint);
    expect(packages).toMatch(/^ii {2}python3-minimal /m);
    expect(packages).toMatch(/^ii {2}iputils-ping /m);
    // Missing are the manuals and documents that the upper layer deletes; a changed program would show as ??5.
    const verified = await sh('chroot "$1" dpkg --verify coreutils libc6 python3-minimal || true', mountpoint);
    expect(verified).not.toMatch(/^..5.* \/(usr\/)?(bin|lib)/m);
  });

  test('a running program is mapped from the mount', async () => {
    const sleeper = spawn('chroot', [mountpoint, '/bin/sleep', '60'], { stdio: 'ignore' });
    try {
      await expect.poll(() => readFileSync(`/proc/${sleeper.pid!}/maps`, 'utf8')).toMatch(/r-xp .*\/bin\/sleep$/m);
      const busy = await place.try(['unmount', mountpoint]);
      expect(busy.code).not.toBe(0);
      expect(busy.stderr).toContain(String(sleeper.pid));
      expect(busy.stderr).toContain('sleep');
    } finally {
      sleeper.kill('SIGKILL');
    }
  });

  test('files read by mmap are the same', async () => {
    const program =
      "import mmap,sys,hashlib,os\nfor p in sys.argv[1:]:\n f=open(p,'rb')\n m=mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ)\n print(hashlib.sha256(m).hexdigest(), hashlib.sha256(f.read()).hexdigest(), os.path.getsize(p)==len(m))\n";
    const names = [
      'usr/bin/python3.11',
      'usr/bin/bash',
      'odd/sizes/1',
      'odd/sizes/4097',
      'odd/sizes/zeros',
      'odd/sizes/sparse-1.0',
    ];
    const reading = (root: string): string =>
      execFileSync('python3', ['-c', program, ...names.map((name) => join(root, name))], { encoding: 'utf8' });
    const ours = reading(mountpoint);
    expect(ours).toBe(reading(unpacked.path));
    for (const line of ours.trim().split('\n')) expect(line.split(' ')[0]).toBe(line.split(' ')[1]);
  });

  test('16 readers at once all read the same', { timeout: 300_000 }, async () => {
    const script = 'cd "$1"; find usr/lib usr/bin -type f -print0 | sort -z | xargs -0 cat | sha256sum';
    const expected = await sh(script, unpacked.path);
    const all = await Promise.all(Array.from({ length: 16 }, () => sh(script, mountpoint)));
    expect(new Set(all)).toEqual(new Set([expected]));
  });

  test('statfs tells size, entries and the length of names', async () => {
    const stats = statfsSync(mountpoint);
    expect(stats.blocks * stats.bsize).toBeGreaterThan(100_000_000);
    expect(stats.bavail).toBe(0);
    expect(stats.files).toBeGreaterThan(7000);
    expect(await sh('stat -f -c "%l" "$1"', mountpoint)).toBe('255\n');
    expect(await sh('df "$1" | tail -1', mountpoint)).toContain(mountpoint);
  });

  test('every kind of change is refused as on a read-only filesystem', async () => {
    const changes = [
      'touch new',
      'mkdir new',
      'rm etc/passwd',
      'mv etc/passwd x',
      'chmod 600 etc/passwd',
      'chown 1 etc/passwd',
      'ln -s a b',
      'ln etc/passwd x',
      'truncate -s 0 etc/passwd',
      'rmdir tmp',
      'touch -c etc/passwd',
      'mkfifo f',
      'setfattr -n user.x -v y etc/passwd',
      'echo x >> etc/passwd',
    ];
    const answers: string[] = [];
    for (const change of changes) answers.push(await sh(`cd "$1"; (${change}) 2>&1 || true`, mountpoint));
    expect(answers.map((answer) => /Read-only file system/.test(answer))).toEqual(changes.map(() => true));
  });

  test('the mount goes away without trace', async () => {
    await place.unmount(mountpoint);
    expect(readdirSync(mountpoint)).toEqual([]);
    expect(await place.ok(['mounts', '--json'])).not.toContain(mountpoint);
  });
});

test('git finds a checked-in tree unchanged', async (context) => {
  need(context, 'fuse', 'git');
  const repository = place.newFolder('repository');
  await sh(
    'cd "$1"; mkdir -p src/deep; for i in $(seq 300); do echo "file $i" > src/deep/f$i; done; ln -s src link; printf "#!/bin/sh\\n" > run; chmod +x run',
    repository,
  );
  git('-C', repository, 'init', '-q');
  git('-C', repository, 'add', '-A');
  git('-C', repository, 'commit', '-qm', 'all');
  await place.ok(['import', repository, '--name', 'repository']);
  const mountpoint = await place.mount('repository');
  expect(git('-C', mountpoint, 'status', '--porcelain')).toBe('');
  expect(git('-C', mountpoint, 'diff', 'HEAD', '--stat')).toBe('');
  expect(git('-C', mountpoint, 'log', '--format=%s').trim()).toBe('all');
  git('-C', mountpoint, 'fsck', '--strict');
  await place.unmount(mountpoint);
});

test('a file stays readable while its image is removed', async (context) => {
  need(context, 'fuse');
  const mini = await needImage(context, 'mini');
  await place.ok(['import', mini.path, '--name', 'doomed']);
  const mountpoint = await place.mount('doomed');
  const expected = readFileSync(join(mountpoint, 'odd/sizes/1048577'));
  const fd = openSync(join(mountpoint, 'odd/sizes/1048577'), 'r');
  try {
    const half = Buffer.alloc(500_000);
    readSync(fd, half, 0, half.length, 0);
    expect(await place.try(['rmi', 'doomed'])).toMatchObject({ code: 6 });
    expect(await place.ok(['rmi', '--force', 'doomed'])).toContain(mountpoint);
    // Another image comes and goes meanwhile: its objects are collected.
    await place.ok(['import', (await testImage('layers128')).path, '--name', 'passing']);
    await place.ok(['rmi', 'passing']);
    const rest = Buffer.alloc(expected.length - half.length);
    expect(readSync(fd, rest, 0, rest.length, half.length)).toBe(rest.length);
    expect(Buffer.concat([half, rest]).equals(expected)).toBe(true);
  } finally {
    closeSync(fd);
  }
  // The whole mount stays whole as well, not only what was open, until it ends.
  await place.ok(['gc']);
  const bytes = Number(await sh('cd "$1"; find usr odd/sizes -type f -print0 | xargs -0 cat | wc -c', mountpoint));
  expect(bytes).toBeGreaterThan(4_000_000);
  await place.unmount(mountpoint);
  await place.ok(['gc']);
  await place.ok(['import', mini.path, '--name', 'again']);
  expect(await place.ok(['cat', 'again', '/etc/hostname'])).toBe('changed\n');
});

test(
  'a folder of 1,000,000 entries mounts in under a second and is listed completely',
  { timeout: 300_000 },
  async (context) => {
    need(context, 'fuse');
    const { path } = await needImage(context, 'million');
    const importing = performance.now();
    await place.ok(['import', path, '--name', 'million']);
    const imported = performance.now() - importing;
    const mounting = performance.now();
    const mountpoint = await place.mount('million');
    const mounted = performance.now() - mounting;
    const listing = performance.now();
    const names = await sh('ls -U "$1/big"', mountpoint);
    const listed = performance.now() - listing;
    console.log(
      `1,000,000 entries: import ${imported.toFixed(0)} ms, mount ${mounted.toFixed(0)} ms (whole command), ls -U ${listed.toFixed(0)} ms`,
    );
    // No assertion on one second: the machine may be busy. It must not depend on the number of entries.
    expect(mounted).toBeLessThan(5000);
    const sorted = names.trimEnd().split('\n').toSorted();
    expect(sorted.length).toBe(MILLION);
    expect(sorted.every((name, index) => name === `entry-${String(index).padStart(7, '0')}`)).toBe(true);
    expect(readFileSync(join(mountpoint, 'big/entry-0999000'), 'utf8')).toBe('content 999000\n');
    expect(statSync(join(mountpoint, 'big/entry-0999999')).mtimeMs).toBe((1_600_000_000 + 999) * 1000);
    await place.unmount(mountpoint);
  },
);

test(
  'a file of more than 4 GiB imports in little memory and reads right at its ends',
  { timeout: 300_000 },
  async (context) => {
    need(context, 'fuse');
    const { path } = await needImage(context, 'bigfile');
    // Prints the most memory that the process ever held, in KiB.
    const hook =
      "--import=data:text/javascript,process.on('exit',()=>console.error('maxRSS',process.resourceUsage().maxRSS))";
    const importing = await place.try(['import', path, '--name', 'big'], { env: { NODE_OPTIONS: hook } });
    if (importing.code !== 0) throw new Error(importing.stderr);
    const peak = Math.max(...[...importing.stderr.matchAll(/maxRSS (\d+)/g)].map((match) => Number(match[1])));
    console.log(`4 GiB file: import held at most ${(peak / 1024).toFixed(0)} MiB`);
    expect(peak).toBeLessThan(200 * 1000);
    const mountpoint = await place.mount('big');
    const big = join(mountpoint, 'big.bin');
    expect(statSync(big).size).toBe(BIG_SIZE);
    const fd = openSync(big, 'r');
    try {
      const word = Buffer.alloc(4);
      for (const mebibyte of [0, 1, 2047, 2048, 4095, 4096]) {
        readSync(fd, word, 0, 4, mebibyte * 1024 ** 2);
        expect(word.readUInt32LE()).toBe(mebibyte);
      }
      expect(readSync(fd, Buffer.alloc(8192), 0, 8192, 4 * 1024 ** 3)).toBe(4097);
    } finally {
      closeSync(fd);
    }
    await place.unmount(mountpoint);
  },
);
