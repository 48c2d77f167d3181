/** An image shown by each transport is what `layerfs checkout` writes, but for what docs/mount.md says of it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesOf } from '../packages/fuse/dist/transport/native/names.js';
import { judge, report, type Excuse } from './compare/compare.js';
import { snapshot, type Seen, type Snapshot } from './compare/snapshot.js';
import { Workplace } from './support/mounted.js';
import { missing, need, needImage } from './support/needs.js';
import { TRANSPORTS } from './support/transports.js';

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
    const libraries = readFileSync(`/proc/${entry.pid}/maps`, 'utf8');
    expect(libraries.includes('libfuse.so')).toBe(transport === 'fuse-native');
    expect(readFileSync(join(mountpoint, 'etc/hostname'), 'utf8')).toBe('changed\n');
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
