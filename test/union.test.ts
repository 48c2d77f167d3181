/** What the writable union promises beyond kernel overlayfs, and what only it does: one test for each promise. */
import * as fs from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { AT_FDCWD, getXattr, listXattrs, makedev, mknodat, setXattr, utimensat } from '@layerfs/linux';
import { mount, openStore } from 'layerfs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tarOf } from './images/tar.js';
import { missing } from './support/needs.js';
import { openObjects } from './support/open-objects.js';
import { TRANSPORTS } from './support/transports.js';
import { UnionPlace } from './support/union-place.js';

const reason = missing('root', 'fuse');
if (reason !== undefined) console.warn(`skipped: the writable union: ${reason}`);
const LARGE = 24 << 20;
/** Small files in one folder. */
const ROW = Array.from({ length: 10 }, (_, i) => `file ${i}`);

describe.skipIf(reason !== undefined).each(TRANSPORTS)('the writable union by %s', (transport) => {
  const place = new UnionPlace({ transport });
  let names = 0;
  beforeAll(async () => {
    const file = join(place.folder, 'lower.tar');
    const large = Buffer.alloc(LARGE, 'large ');
    fs.writeFileSync(
      file,
      tarOf(
        { name: 'd/', mode: 0o755, mtime: 1000 },
        { name: 'd/one', data: 'one\n', mode: 0o644, mtime: 2000 },
        { name: 'd/two', type: '1', linkname: 'd/one' },
        { name: 'd/deep/', mode: 0o755, mtime: 1500 },
        { name: 'd/deep/three', type: '1', linkname: 'd/one' },
        { name: 'd/deep/large', data: large, mode: 0o644, mtime: 3000 },
        { name: 'd/deep/medium', data: large.subarray(0, 1 << 20), mode: 0o644, mtime: 3000 },
        ...ROW.map((name) => ({ name: `row/${name}`, data: `content of ${name}`, mode: 0o644, mtime: 4000 })),
      ),
    );
    await place.ok(['import', file, '--name', 'lower', '-q']);
  });
  afterAll(() => place.remove());

  const open = async (...options: string[]): Promise<{ root: string; name: string; upper: string }> => {
    const name = `s${names++}`;
    const root = await place.rw('lower', name, options);
    return { root, name, upper: (await place.snapshot(name)).upper };
  };

  test('hardlinks of the lower stay one file across copy-up, by whatever name', async () => {
    const { root } = await open();
    fs.appendFileSync(join(root, 'd/two'), 'more\n');
    expect(fs.readFileSync(join(root, 'd/one'), 'utf8')).toBe('one\nmore\n');
    expect(fs.readFileSync(join(root, 'd/deep/three'), 'utf8')).toBe('one\nmore\n');
    fs.unlinkSync(join(root, 'd/one'));
    expect(fs.statSync(join(root, 'd/deep/three')).nlink).toBe(2);
    await place.unmount(root);
  });

  test('inode numbers stay: copy-up, rename, remount', async () => {
    const { root, name } = await open();
    const ino = (path: string): bigint => fs.lstatSync(join(root, path), { bigint: true }).ino;
    const before = [ino('d'), ino('d/one'), ino('d/deep'), ino('d/deep/large')];
    fs.writeFileSync(join(root, 'new'), 'new');
    const fresh = ino('new');
    fs.chmodSync(join(root, 'd/one'), 0o600);
    fs.appendFileSync(join(root, 'd/deep/large'), 'x');
    fs.renameSync(join(root, 'd/deep'), join(root, 'd/moved'));
    fs.renameSync(join(root, 'd'), join(root, 'e'));
    const after = ['e', 'e/one', 'e/moved', 'e/moved/large'];
    expect(after.map(ino)).toEqual(before);
    await place.unmount(root);
    await place.rw('lower', name, [], root);
    expect(after.map(ino)).toEqual(before);
    expect(ino('new')).toBe(fresh);
    expect(new Set(after.map((path) => fs.statSync(join(root, path)).dev)).size).toBe(1);
    await place.unmount(root);
  });

  test('a change of attributes copies no content, and its file is read all the same', async () => {
    const { root, upper } = await open();
    const path = join(root, 'd/deep/large');
    fs.chmodSync(path, 0o600);
    utimensat(AT_FDCWD, path, { sec: 5, nsec: 6 }, { sec: 7, nsec: 8 });
    fs.chownSync(path, 12, 34);
    fs.renameSync(path, join(root, 'd/renamed'));
    fs.linkSync(join(root, 'd/renamed'), join(root, 'd/linked'));
    const inUpper = fs.statSync(join(upper, 'd/renamed'));
    expect([inUpper.blocks, inUpper.size]).toEqual([expect.toSatisfy((n: number) => n <= 8), LARGE]);
    const shown = fs.statSync(join(root, 'd/linked'));
    expect([shown.mode & 0o7777, shown.uid, shown.gid, Math.floor(shown.mtimeMs), shown.nlink]).toEqual([
      0o600, 12, 34, 7000, 2,
    ]);
    expect(fs.readFileSync(join(root, 'd/linked')).equals(Buffer.alloc(LARGE, 'large '))).toBe(true);
    await place.unmount(root);
  });

  test('a large copy-up holds up nobody else, and who waits for it gets what it was', async () => {
    const { root } = await open();
    const path = join(root, 'd/deep/large');
    const child = execFileSync('sh', [
      '-c',
      `(echo end >> ${path}) & stat ${root}/d > /dev/null; mkdir ${root}/meanwhile; chmod 640 ${path}; wait; tail -c 4 ${path}; stat -c %a ${path}`,
    ]);
    expect(child.toString()).toBe('end\n640\n');
    expect(fs.statSync(path).size).toBe(LARGE + 4);
    await place.unmount(root);
  });

  test.each([
    ['by passthrough', []],
    ['through the server', ['--no-passthrough']],
    // Again, as a busy machine may be too slow to see it: what nobody comes for is closed soon.
  ])('whoever goes through files of the lower finds the next ones opened: %s', { retry: 4 }, async (_, options) => {
    const { root } = await open(...options);
    const pid = await place.server(root);
    for (const name of ROW.slice(0, 3)) fs.readFileSync(join(root, 'row', name));
    const next = ROW.slice(3).map((name) => `content of ${name}`);
    // libfuse does not say when no request waits.
    await expect.poll(() => openObjects(pid, next)).toEqual(transport === 'kernel' ? next : []);
    // What is read ahead is not what was written meanwhile.
    fs.writeFileSync(join(root, 'row', ROW[5]), 'new');
    expect(ROW.slice(3).map((name) => fs.readFileSync(join(root, 'row', name), 'utf8'))).toEqual(
      next.map((content, i) => (i === 2 ? 'new' : content)),
    );
    await place.unmount(root);
  });

  test.each([
    ['by passthrough', []],
    ['through the server', ['--no-passthrough']],
  ])('a file that is open for reading is written by another: %s', async (_, options) => {
    const { root } = await open(...options);
    for (const name of ['d/one', 'd/deep/medium']) {
      const path = join(root, name);
      const reader = fs.openSync(path, 'r');
      const start = Buffer.alloc(4);
      fs.readSync(reader, start, 0, 4, 0);
      const writer = fs.openSync(path, 'r+');
      fs.writeSync(writer, 'XXXX', 0);
      // The reader goes on, with the old content or the new.
      const again = Buffer.alloc(4);
      expect(fs.readSync(reader, again, 0, 4, 0)).toBe(4);
      expect([start.toString(), 'XXXX']).toContain(again.toString());
      const second = fs.openSync(path, 'r');
      fs.readSync(second, again, 0, 4, 0);
      expect(again.toString()).toBe('XXXX');
      for (const fd of [reader, writer, second]) fs.closeSync(fd);
      expect(fs.readFileSync(path).subarray(0, 4).toString()).toBe('XXXX');
    }
    await place.unmount(root);
    // And the image is what it was.
    const clean = await place.mount('lower');
    expect(fs.readFileSync(join(clean, 'd/one'), 'utf8')).toBe('one\n');
    expect(fs.readFileSync(join(clean, 'd/deep/medium')).subarray(0, 6).toString()).toBe('large ');
    await place.unmount(clean);
  });

  test('what fuse-overlayfs and unprivileged overlayfs spell in their own ways is understood', async () => {
    const { root, name, upper } = await open();
    await place.unmount(root);
    const { removeXattr } = await import('@layerfs/linux');
    removeXattr(upper, 'trusted.overlay.layerfs.upper');
    fs.mkdirSync(join(upper, 'd'));
    fs.writeFileSync(join(upper, 'd/.wh.one'), '');
    fs.mkdirSync(join(upper, 'd/deep'));
    fs.writeFileSync(join(upper, 'd/deep/.wh..wh..opq'), '');
    fs.writeFileSync(join(upper, 'd/deep/only'), '');
    fs.mkdirSync(join(upper, 'odd'));
    setXattr(join(upper, 'odd'), 'user.overlay.opaque', Buffer.from('y'));
    await place.rw('lower', name, [], root);
    expect(fs.readdirSync(join(root, 'd')).toSorted()).toEqual(['deep', 'two']);
    expect(fs.readdirSync(join(root, 'd/deep'))).toEqual(['only']);
    expect(listXattrs(join(root, 'odd'))).toEqual([]);
    await place.unmount(root);
    expect(getXattr(join(upper, 'd/deep'), 'trusted.overlay.opaque')).toEqual(new Uint8Array(Buffer.from('y')));
    expect(fs.lstatSync(join(upper, 'd/one')).isCharacterDevice()).toBe(true);
  });

  test("the union's own attributes are neither shown nor set, and a whiteout cannot be made by hand", async () => {
    const { root, upper } = await open();
    fs.renameSync(join(root, 'd/deep'), join(root, 'moved'));
    expect(listXattrs(join(root, 'moved'))).toEqual([]);
    setXattr(join(root, 'moved'), 'trusted.overlay.redirect', Buffer.from('/etc'));
    expect(getXattr(join(upper, 'moved'), 'trusted.overlay.redirect')).toEqual(new Uint8Array(Buffer.from('/d/deep')));
    expect(fs.readdirSync(join(root, 'moved')).toSorted()).toEqual(['large', 'medium', 'three']);
    expect(() => mknodat(AT_FDCWD, join(root, 'white'), 0o20000, makedev(0, 0))).toThrow('EPERM');
    await place.unmount(root);
  });

  test('commit and diff of a mount hold changes back, and let go', async () => {
    const { root, name } = await open();
    // Two names that are swapped all the time: at any moment one is `a` and the other `b`.
    fs.mkdirSync(join(root, 'swap'));
    fs.writeFileSync(join(root, 'swap/x'), 'a');
    fs.writeFileSync(join(root, 'swap/y'), 'b');
    const swap = `import os,ctypes\nlibc=ctypes.CDLL(None)\nfor i in range(200000): libc.syscall(316,-100,b'${root}/swap/x',-100,b'${root}/swap/y',2)`;
    const { spawn } = await import('node:child_process');
    const child = spawn('python3', ['-c', swap], { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    for (const tag of ['one', 'two', 'three']) {
      await place.ok(['commit', name, `swapped:${tag}`, '-q']);
      const both = await Promise.all(['x', 'y'].map((file) => place.ok(['cat', `swapped:${tag}`, `/swap/${file}`])));
      expect(both.toSorted()).toEqual(['a', 'b']);
    }
    child.kill('SIGKILL');
    await ended;
    fs.writeFileSync(join(root, 'swap/z'), 'goes on');
    expect(await place.ok(['diff', name])).toContain('A /swap/z');
    await place.unmount(root);
  });

  test('explain tells what the snapshot has of a path', async () => {
    const { root, name } = await open();
    fs.writeFileSync(join(root, 'fresh'), '');
    fs.chmodSync(join(root, 'd/one'), 0o600);
    fs.rmSync(join(root, 'd/deep/large'));
    const explained = async (path: string): Promise<string> => place.ok(['explain', join(root, path)]);
    expect(await explained('fresh')).toContain(`changed in snapshot ${name}`);
    expect(await explained('d/one')).toMatch(
      new RegExp(`changed in snapshot ${name}[^]*the image has:[^]*from layer 1 of 1`),
    );
    expect(await explained('d/deep/large')).toContain(`removed in snapshot ${name}`);
    expect(await explained('d/deep/medium')).not.toContain('snapshot');
    await place.unmount(root);
  });

  test('from TypeScript, in this process', async () => {
    const store = await openStore({ root: place.root });
    const mountpoint = place.newFolder('mnt');
    const mounted = await mount(store, 'lower', mountpoint, { writable: true, name: 'library', transport });
    expect(mounted.info.snapshot).toBe('library');
    // The worker answers; this thread must not wait for it.
    await fs.promises.writeFile(join(mountpoint, 'file'), 'content');
    const handle = await fs.promises.open(join(mountpoint, 'd/one'), 'r+');
    await handle.write('ONE');
    await handle.sync();
    await handle.close();
    await mounted.unmount();
    const again = await mount(store, 'lower', mountpoint, { writable: true, name: 'library', transport });
    expect(await fs.promises.readFile(join(mountpoint, 'd/one'), 'utf8')).toBe('ONE\n');
    await again.unmount();
    await store.close();
  });
});
