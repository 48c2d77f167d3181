/** An image shown by each transport is what `layerfs checkout` writes, but for what docs/mount.md says of it. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { AT_FDCWD, ErrnoError, RENAME, fallocate, renameat2 } from '@layerfs/linux';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesOf } from '../packages/fuse/dist/transport/native/names.js';
import { judge, report, type Excuse } from './compare/compare.js';
import { snapshot, type Seen, type Snapshot } from './compare/snapshot.js';
import { tarOf } from './images/tar.js';
import { Workplace } from './support/mounted.js';
import { missing, need, needImage } from './support/needs.js';
import { TRANSPORTS, transportOptions } from './support/transports.js';

const reason = missing('root', 'fuse', 'getfattr');
if (reason !== undefined) console.warn(`skipped: mounts by each transport against a checkout: ${reason}`);

/** As fuse-native shows a name, back to what it is. */
const bytes = (text: string): string => bytesOf(Buffer.from(text, 'latin1').toString('utf8'));

/** A mount by fuse-native, with names and targets as bytes again. */
function inBytes(seen: Snapshot): Snapshot {
  const turned = ([path, { target, group, ...rest }]: [string, Seen]): [string, Seen] => [
    bytes(path),
    {
      ...rest,
      ...(target === undefined ? {} : { target: bytes(target) }),
      ...(group === undefined ? {} : { group: group.split(' = ').map(bytes).toSorted().join(' = ') }),
    },
  ];
  return new Map([...seen].map(turned));
}

/** Milliseconds, and none before 1970. */
function asNative(nanos: string | undefined): string {
  const millis = BigInt(nanos ?? 0) / 1_000_000n;
  return String(millis < 0n ? 0n : millis * 1_000_000n);
}

const TIMES: Excuse = {
  reason: 'fuse-native passes times on in milliseconds, and none before 1970',
  matches: ({ field, left, right }) => field === 'mtime' && right === asNative(left),
};

describe.skipIf(reason !== undefined).each(TRANSPORTS)('an image shown by %s', (transport) => {
  const place = new Workplace({ transport });
  let checkout = '';
  beforeAll(async () => {
    checkout = place.newFolder('checkout');
  });
  afterAll(() => place.remove());

  test('is what checkout writes', async (context) => {
    await place.ok(['import', (await needImage(context, 'mini')).path, '--name', 'mini', '-q']);
    await place.ok(['checkout', 'mini', checkout]);
    const mountpoint = await place.mount('mini');
    const [expected, shown] = [await snapshot(checkout), await snapshot(mountpoint)];
    const native = transport === 'fuse-native';
    const { paths, unexplained, excused } = judge(expected, native ? inBytes(shown) : shown, native ? [TIMES] : []);
    expect(report(unexplained, ['checkout', transport])).toBe('');
    expect(paths).toBeGreaterThan(40);
    // The image has such times: the excuse is for something.
    if (native) expect(excused.get(TIMES.reason)).toBeGreaterThan(0);
    await place.unmount(mountpoint);
  });

  test('says by whom it is mounted, and how it is read', async (context) => {
    need(context, 'fuse');
    const mountpoint = await place.mount('mini');
    const [entry] = JSON.parse(await place.ok(['mounts', '--json'])) as { transport: string; pid: number }[];
    expect(entry.transport).toBe(transport);
    const libraries = fs.readFileSync(`/proc/${entry.pid}/maps`, 'utf8');
    expect(libraries.includes('libfuse.so')).toBe(transport === 'fuse-native');
    expect(fs.readFileSync(join(mountpoint, 'etc/hostname'), 'utf8')).toBe('changed\n');
    await place.unmount(mountpoint);
  });
});

describe.skipIf(reason !== undefined || !TRANSPORTS.includes('fuse-native'))('what fuse-native cannot do', () => {
  const place = new Workplace({ transport: 'fuse-native' });
  afterAll(() => place.remove());

  test('is refused in words: users that it does not know, and mounting without a server', async (context) => {
    await place.ok(['import', (await needImage(context, 'mini')).path, '--name', 'mini', '-q']);
    const folder = place.newFolder('mnt');
    const open = await place.try(['mount', '--transport', 'fuse-native', '--rw', '--allow-other', 'mini', folder]);
    expect([open.code, open.stderr]).toEqual([4, expect.stringMatching(/does not say who makes a file/)]);
    expect(await place.ok(['snapshots', '--json'])).toBe('[]\n');
    const kernel = await place.try(['mount', '--transport', 'fuse-native', '--mount-mode', 'kernel', 'mini', folder]);
    expect(kernel.stderr).toMatch(/--transport fuse-native needs a serving process/);
  });
});

/** The error that something gives, or what it returns. */
function outcome(what: () => unknown): unknown {
  try {
    return what();
  } catch (error) {
    return error instanceof ErrnoError ? error.code : (error as NodeJS.ErrnoException).code;
  }
}

/** What differs between the transports on writable mounts, as the table in docs/mount.md has it. */
const DIFFERENCES: [
  what: string,
  expected: Record<'kernel' | 'fuse-native', unknown>,
  seen: (at: string) => unknown,
][] = [
  [
    'rename with flags',
    { kernel: 'ba', 'fuse-native': 'EINVAL' },
    (at) => {
      for (const name of ['a', 'b']) fs.writeFileSync(join(at, name), name);
      renameat2(AT_FDCWD, join(at, 'a'), AT_FDCWD, join(at, 'b'), RENAME.EXCHANGE);
      return ['a', 'b'].map((name) => fs.readFileSync(join(at, name), 'latin1')).join('');
    },
  ],
  [
    'O_TMPFILE',
    { kernel: 0, 'fuse-native': 'ENOTSUP' },
    (at) => {
      const fd = fs.openSync(at, fs.constants.O_RDWR | 0o20200000);
      const { nlink } = fs.fstatSync(fd);
      fs.closeSync(fd);
      return nlink;
    },
  ],
  [
    'a file that is removed while open',
    { kernel: ['read', [], 'none'], 'fuse-native': ['read', [expect.stringMatching(/^\.fuse_hidden/)], 'ENOTEMPTY'] },
    (at) => {
      const folder = join(at, 'removed');
      fs.mkdirSync(folder);
      fs.writeFileSync(join(folder, 'open'), 'read');
      const fd = fs.openSync(join(folder, 'open'), 'r');
      fs.unlinkSync(join(folder, 'open'));
      const seen = [fs.readFileSync(fd, 'latin1'), fs.readdirSync(folder)];
      const removed = outcome(() => fs.rmdirSync(folder)) ?? 'none';
      fs.closeSync(fd);
      return [...seen, removed];
    },
  ],
  [
    'setting one of atime and mtime alone',
    { kernel: 5000, 'fuse-native': 7000 },
    (at) => {
      const file = join(at, 'times');
      fs.writeFileSync(file, '');
      fs.utimesSync(file, 7, 7);
      execFileSync('touch', ['-m', '-d', '@5', file]);
      return fs.statSync(file).mtimeMs;
    },
  ],
  [
    'a new name that is no UTF-8',
    { kernel: undefined, 'fuse-native': 'EILSEQ' },
    (at) => fs.writeFileSync(Buffer.from(`${at}/\xff`, 'latin1'), ''),
  ],
  [
    'fallocate',
    { kernel: 4096, 'fuse-native': 'ENOTSUP' },
    (at) => {
      const fd = fs.openSync(join(at, 'allocated'), 'w');
      try {
        fallocate(fd, 0, 0, 4096);
        return fs.fstatSync(fd).size;
      } finally {
        fs.closeSync(fd);
      }
    },
  ],
];

describe.skipIf(reason !== undefined).each(TRANSPORTS)('a writable mount by %s', (transport) => {
  const place = new Workplace({ transport });
  let at = '';
  beforeAll(async () => {
    const file = join(place.folder, 'image.tar');
    fs.writeFileSync(file, tarOf({ name: 'etc/' }));
    await place.ok(['import', file, '--name', 'image', '-q']);
    at = await place.mount('image', '--rw', '--name', 'work');
  });
  afterAll(() => place.remove());

  test.each(DIFFERENCES)('%s', (_, expected, seen) => {
    expect(outcome(() => seen(at))).toEqual(expected[transport]);
  });

  test('default ACLs are inherited', (context) => {
    need(context, 'setfacl');
    const folder = join(at, 'acl');
    fs.mkdirSync(folder);
    execFileSync('setfacl', ['-d', '-m', 'u:1234:rwx', folder]);
    const acl = (path: string): string => execFileSync('getfacl', ['-cnpE', path], { encoding: 'latin1' });
    expect(acl(folder)).toContain('default:user:1234:rwx');
    fs.writeFileSync(join(folder, 'new'), '');
    expect(acl(join(folder, 'new'))).toContain('user:1234:rwx');
  });

  test('a mountpoint that is itself a mount', async () => {
    const folder = place.newFolder('mounted');
    execFileSync('mount', ['-t', 'tmpfs', 'layerfs-test', folder]);
    try {
      const { code, stderr } = await place.try(['mount', ...transportOptions(transport), 'image', folder]);
      expect([code === 0, stderr]).toEqual(
        transport === 'kernel' ? [true, expect.anything()] : [false, expect.stringMatching(/in use/)],
      );
      if (code === 0) await place.unmount(folder);
    } finally {
      execFileSync('umount', [folder]);
    }
  });
});
