/**
 * Snapshots whose upper folders the kernel's own overlayfs writes, or fuse-overlayfs: what `diff` lists is what was done, and
 * what `commit` makes is what the mount showed, to us, to umoci and to containerd.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test, type TestContext } from 'vitest';
import { getXattr } from '@layerfs/linux';
import { openStore, type Change, type Snapshot, type Store } from 'layerfs';
import { judge, report, type Excuse } from './compare/compare.js';
import { snapshot as look, type Snapshot as Seen } from './compare/snapshot.js';
import { run } from './images/oci.js';
import { tarOf } from './images/tar.js';
import { CONTAINERD_EXCUSES, startContainerd } from './support/containerd.js';
import { Workplace } from './support/mounted.js';
import { missing, need, needImage } from './support/needs.js';
import { UMOCI_EXCUSES, umociUnpack } from './support/umoci.js';

const place = new Workplace({ disk: true });
afterAll(() => place.remove());

const lowers = new Map<string, string>();
let count = 0;

/** A file with names in three folders, which `mini` does not have. */
const LINKS = tarOf(
  { name: './', mode: 0o755, mtime: 1000 },
  ...['a', 'a/in', 'b', 'c'].map((name) => ({ name: `${name}/`, mode: 0o755, mtime: 1000 })),
  { name: 'a/in/one', data: 'linked', mode: 0o640, mtime: 2000 },
  { name: 'a/two', type: '1', linkname: 'a/in/one' },
  { name: 'b/three', type: '1', linkname: 'a/in/one' },
  { name: 'c/four', type: '1', linkname: 'a/in/one' },
);

/** A checkout of an image, which all mounts of it stand on. */
async function lowerFolder(context: TestContext, name: 'mini' | 'links'): Promise<string> {
  const source = name === 'mini' ? (await needImage(context, 'mini')).path : join(place.folder, 'links.tar');
  const known = lowers.get(name);
  if (known !== undefined) return known;
  if (name === 'links') writeFileSync(source, LINKS);
  await place.ok(['import', source, '--name', name]);
  const lower = join(place.folder, `lower-${name}`);
  await place.ok(['checkout', name, lower]);
  lowers.set(name, lower);
  return lower;
}

async function withStore<T>(action: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore({ root: place.root });
  try {
    return await action(store);
  } finally {
    await store.close();
  }
}

interface Done {
  readonly snapshot: Snapshot;
  /** What the mount showed at the end. */
  readonly seen: Seen;
  readonly changes: Change[];
}

/** How a snapshot is mounted over a folder. */
interface How {
  readonly image?: 'mini' | 'links';
  /** Of overlayfs. */
  readonly options?: string;
  readonly program?: 'fuse-overlayfs';
}

/** Makes a snapshot, mounts it, runs a script in it, and looks at what came of it. */
async function change(context: TestContext, script: string, how: How = {}): Promise<Done> {
  const { image = 'mini', options = '', program } = how;
  need(context, 'root', 'getfattr', 'setfattr', ...(program === undefined ? [] : ['fuse', program]));
  const below = await lowerFolder(context, image);
  const snapshot = await withStore((store) => store.createSnapshot(image, { name: `work-${count++}` }));
  const mountpoint = place.newFolder('overlay');
  const folders = `lowerdir=${below},upperdir=${snapshot.upper},workdir=${snapshot.work}`;
  const mount = (): Promise<unknown> =>
    program === undefined
      ? run('mount', ['-t', 'overlay', 'overlay', '-o', `${folders},index=off${options}`, mountpoint])
      : run(program, ['-o', folders, mountpoint]);
  let seen: Seen;
  await mount();
  try {
    await run('sh', ['-euc', script], { cwd: mountpoint });
    // What lies on the disk counts: the kernel's own idea of times under FUSE may be another.
    await run('umount', [mountpoint]);
    await mount();
    seen = await look(mountpoint);
  } finally {
    await run('umount', [mountpoint]);
  }
  return { snapshot, seen, changes: await withStore((store) => store.diff(snapshot.name)) };
}

/** Commits, and compares the image with what the mount showed. */
async function expectCommitted({ snapshot, seen }: Done, excuses: Excuse[] = []): Promise<void> {
  const ref = `committed:${snapshot.name}`;
  await place.ok(['commit', snapshot.name, ref, '-m', 'a test']);
  const folder = join(place.folder, `checkout-${snapshot.name}`);
  await place.ok(['checkout', ref, folder]);
  expect(report(judge(await look(folder), seen, excuses).unexplained, ['checkout', 'overlayfs'])).toBe('');
  rmSync(folder, { recursive: true });
  if (missing('umoci') !== undefined) return;
  const layout = join(place.folder, `layout-${snapshot.name}`);
  await place.ok(['export', ref, layout]);
  const unpacked = await umociUnpack(layout, snapshot.name);
  const theirs = await look(unpacked.path);
  unpacked.remove();
  const { unexplained } = judge(seen, theirs, [...UMOCI_EXCUSES, UMOCI_XATTRS, ...excuses]);
  expect(report(unexplained, ['overlayfs', 'umoci'])).toBe('');
}

/** umoci reads records of PAX headers as Go does, which takes an empty value for none and a name up to its first `=`. */
const UMOCI_XATTRS: Excuse = {
  reason: 'an extended attribute with an empty value, or with `=` in its name: umoci leaves it out',
  matches: ({ field, left, right }) =>
    field === 'xattrs' &&
    left
      ?.split('\n')
      .filter((line) => !/=0x$|=.*=/.test(line))
      .join('\n') === (right ?? ''),
};

const lines = (changes: Change[]): string[] => changes.map(({ kind, path }) => `${kind} ${path}`);

describe('an upper written by overlayfs', () => {
  test('new files of all kinds', async (context) => {
    const done = await change(
      context,
      `mkdir -p new/deep; echo x > new/deep/file; ln new/deep/file new/second; ln -s file new/deep/link
       mkfifo -m 640 new/fifo; mknod new/device c 10 70000; printf b > "new/$(printf 'bytes-\\377')"; : > new/empty
       setfattr -n user.bytes -v 0x00ff0a3d30 new/deep/file; setfattr -n 'user.a=b' -v c new/empty
       setfattr -n trusted.mine -v '' new; truncate -s 3M new/sparse; echo end >> new/sparse
       touch -d @1234567890.123456789 new/deep/file; touch -h -d @-5.5 new/deep/link; chown 3000000000:7 new/empty
       mkdir -p new/${'l'.repeat(200)}/${'m'.repeat(200)}; echo y > new/${'l'.repeat(200)}/${'m'.repeat(200)}/n`,
    );
    expect(lines(done.changes).slice(0, 4)).toEqual([
      'changed ',
      'added new',
      'added new/bytes-\xff',
      'added new/deep',
    ]);
    await expectCommitted(done);
  });

  test('changed files: content, attributes, times', async (context) => {
    const done = await change(
      context,
      `echo more >> etc/hostname; chmod 600 usr/bin/ls; chown 5:6 odd/modes/owner; touch -h odd/links/absolute
       setfattr -x user.folder odd/xattrs; touch -d @5 usr; chmod 0 odd/times`,
    );
    expect(lines(done.changes)).toEqual([
      'changed etc/hostname',
      'changed odd/links/absolute',
      'changed odd/modes/owner',
      'changed odd/times',
      'changed odd/xattrs',
      'changed usr',
      'changed usr/bin/ls',
    ]);
    await expectCommitted(done);
  });

  test('what was copied up and is as before does not count', async (context) => {
    const { snapshot, changes } = await change(
      context,
      `chmod 600 usr/bin/ls; chmod 755 usr/bin/ls; touch -r etc/hostname /tmp/layerfs-time; echo more >> etc/hostname
       echo changed > etc/hostname; touch -r /tmp/layerfs-time etc/hostname; rm /tmp/layerfs-time`,
    );
    expect(changes).toEqual([]);
    const refused = await place.try(['commit', snapshot.name, 'unchanged']);
    expect(refused).toMatchObject({ code: 6 });
    expect(refused.stderr).toContain('nothing changed');
    const { image } = await withStore((store) => store.commit(snapshot.name, 'unchanged', { allowEmpty: true }));
    const both = await withStore((store) => store.diff('mini', 'unchanged'));
    expect(image.layers.at(-1)).toMatchObject({ entries: 0 });
    expect(both).toEqual([]);
  });

  test('deleted files and folders, and what takes their place', async (context) => {
    const done = await change(
      context,
      `rm odd/times/epoch odd/names/n*; rm -rf odd/long; mkdir odd/long; echo y > odd/long/again
       rm -r odd/modes; echo file > odd/modes; rm odd/links/relative odd/links/second-symlink; mkdir odd/links/relative
       rm -r odd/dev; mkdir odd/dev; mkfifo odd/dev/null`,
    );
    const listed = lines(done.changes);
    expect(listed.filter((line) => line.includes('odd/names/'))).toEqual([
      'deleted odd/names/new\nline',
      `deleted odd/names/${'n'.repeat(255)}`,
    ]);
    expect(listed).toContain('changed odd/modes');
    expect(listed).toContain('changed odd/long');
    expect(listed).toContain('added odd/long/again');
    expect(listed).toContain('deleted odd/dev/fifo');
    expect(listed).toContain('changed odd/dev/null');
    expect(listed.filter((line) => line.startsWith('deleted odd/modes'))).toEqual([]);
    await expectCommitted(done);
  });

  test('renamed folders with redirects, files with their content in the lower', async (context) => {
    const done = await change(
      context,
      `mv odd/dev odd/devices; mkdir new; mv odd/names new/moved; rm new/moved/A; echo z > new/moved/a; echo q > new/moved/added
       chmod 755 odd/modes/setgid; chmod 600 usr/bin/ls; mv usr/bin/ls new/ls; mv odd/times odd/t; mv odd/t odd/times
       mkdir odd/dev; echo other > odd/dev/null; mv usr/lib new/lib; mv new/lib/* new; rmdir new/lib; mkdir usr/lib`,
      { options: ',redirect_dir=on,metacopy=on' },
    );
    // What this is about: the kernel did not copy.
    const { upper } = done.snapshot;
    expect(getXattr(join(upper, 'odd/devices'), 'trusted.overlay.redirect')).toEqual(
      Uint8Array.from(Buffer.from('dev')),
    );
    expect(getXattr(join(upper, 'new/ls'), 'trusted.overlay.metacopy')).toBeDefined();
    expect(getXattr(join(upper, 'new/ls'), 'trusted.overlay.redirect')).toBeDefined();
    const listed = lines(done.changes);
    expect(listed).toContain('deleted odd/names');
    expect(listed).toContain('added new/moved/back\\slash');
    expect(listed).toContain('added odd/devices/fifo-too');
    expect(listed).toContain('changed odd/dev/null');
    expect(listed).toContain('deleted usr/bin/ls');
    expect(listed.filter((line) => line.includes('odd/times/'))).toEqual([]);
    await expectCommitted(done);
  });

  test('nested renames', async (context) => {
    const done = await change(
      context,
      `mkdir -p a/b; mv odd/names a/b/n; mv a c; mv c/b odd/b; mv odd/b/n odd/names; mv odd/names odd/other
       mv odd o; mkdir odd; echo 1 > odd/only; mv o/links odd/links; rm o/links 2>/dev/null || true; mv o/xattrs odd/x`,
      { options: ',redirect_dir=on' },
    );
    await expectCommitted(done);
  });

  test('hardlinks', async (context) => {
    const done = await change(
      context,
      `echo one > one; ln one two; mkdir sub; ln one sub/three; rm odd/links/one odd/links/two odd/links/three odd/links/four
       echo again > odd/links/one; ln odd/links/one odd/links/two; ln -s t sl; ln sl sub/sl`,
    );
    await expectCommitted(done);
  });

  test('a renamed folder takes some of the names of a file along', async (context) => {
    const done = await change(context, `mv a d; mv c d/in`, { options: ',redirect_dir=on', image: 'links' });
    expect(done.seen.get('b/three')).toMatchObject({ nlink: '4' });
    expect(lines(done.changes)).toEqual([
      'changed ',
      'deleted a',
      'deleted c',
      'added d',
      'added d/in',
      'added d/in/c',
      'added d/in/c/four',
      'added d/in/one',
      'added d/two',
    ]);
    await expectCommitted(done);
  });
});

// Not with odd/names: it dies of a name of 255 bytes, to which its whiteouts add four.
test('an upper written by fuse-overlayfs', async (context) => {
  const done = await change(
    context,
    `echo more >> etc/hostname; chmod 600 usr/bin/ls; mkdir new; echo x > new/file; ln new/file new/link; mv new/file new/moved
     rm usr/bin/cat; rm -r odd/times; rm -rf odd/long; mkdir odd/long; echo y > odd/long/again; ln -s t new/symlink
     setfattr -n user.mine -v 1 new/moved; mkfifo new/fifo; mv odd/xattrs odd/moved; touch -d @5.25 usr`,
    { program: 'fuse-overlayfs' },
  );
  expect(lines(done.changes)).toContain('deleted odd/times');
  expect(lines(done.changes)).toContain('changed usr/bin/ls');
  await expectCommitted(done);
});

test('containerd unpacks a committed image as it was mounted', async (context) => {
  need(context, 'containerd', 'ctr');
  const { snapshot, seen } = await change(
    context,
    `mv a d; mv c d/in; mkdir c; echo x > c/new; ln c/new new; ln -s new link; chmod 700 d/in`,
    { image: 'links', options: ',redirect_dir=on' },
  );
  const ref = `committed:${snapshot.name}`;
  await place.ok(['commit', snapshot.name, ref]);
  const archive = join(place.folder, 'containerd.tar');
  await place.ok(['export', ref, archive]);
  const { chainID } = await withStore((store) => Promise.resolve(store.image(ref)));
  const containerd = await startContainerd();
  try {
    const theirs = await look(await containerd.unpack(archive, chainID));
    expect(report(judge(seen, theirs, CONTAINERD_EXCUSES).unexplained, ['overlayfs', 'containerd'])).toBe('');
  } finally {
    await containerd.stop();
  }
});
