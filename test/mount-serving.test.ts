/** A mounted tree: what it shows, how it reads, and that nothing can be written through it. */
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  lstatSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ErrnoError, MS, getXattr, listXattrs, mount, setXattr } from '@layerfs/linux';
import { spawnServer } from '../packages/layerfs/dist/mount/mount.js';
import { bytesOf, textOf } from '../packages/fuse/dist/transport/native/names.js';
import type { MountOptions } from '../packages/layerfs/dist/mount/prepare.js';
import { unmount } from '../packages/layerfs/dist/mount/unmount.js';
import { missing } from './support/needs.js';
import { openObjects } from './support/open-objects.js';
import { TRANSPORTS, type Transport } from './support/transports.js';
import { TreeSource } from './support/tree-source.js';

const run = promisify(execFile);
const reason = missing('root', 'fuse');
if (reason !== undefined) console.warn(`skipped: mounts of hand-made trees: ${reason}`);

const ODD_NAME = 'odd \xff\xfe\n name';
const BIG = randomBytes(3_000_001);

/** Of the files in `many`. */
function contentOf(name: string): string {
  return name.slice('entry-'.length);
}

function rawPath(folder: string, name: string): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name, 'latin1')]);
}

/** Without passthrough the kernel opens files without asking, so on a writable mount it is the write that fails. */
function writeThrough(file: string, flags: number): void {
  const fd = openSync(file, flags);
  try {
    writeSync(fd, 'x');
  } finally {
    closeSync(fd);
  }
}

const WAYS: [string, Transport, boolean][] = [
  ['with passthrough', 'kernel', true],
  ['without passthrough', 'kernel', false],
  ['by fuse-native', 'fuse-native', false],
];

describe.skipIf(reason !== undefined).each(WAYS.filter(([, transport]) => TRANSPORTS.includes(transport)))(
  'a mounted tree %s',
  (_, transport, passthrough) => {
    const native = transport === 'fuse-native';
    // fuse-native shows bytes that are no text by other characters.
    const shownBytes = (bytes: Buffer): string => (native ? bytesOf(bytes.toString('utf8')) : bytes.toString('latin1'));
    let source: TreeSource;
    const mounted: string[] = [];
    let at = '';
    async function mountIt(options: MountOptions = {}): Promise<string> {
      const folder = source.newFolder();
      const info = await spawnServer(source, 'test:latest', folder, { passthrough, transport, ...options });
      mounted.push(folder);
      expect(info).toMatchObject({ passthrough });
      return folder;
    }
    beforeAll(async () => {
      source = new TreeSource();
      source
        .add('dir', { mode: 0o041777, uid: 1, gid: 2, mtimeSec: -5, mtimeNsec: 999_999_999 })
        .add('dir/file', { mode: 0o104755, uid: 4_000_000_000, gid: 3, mtimeSec: 2 ** 33, content: 'hello' })
        .add('dir/empty', { mode: 0o100000 })
        .add('dir/link', { mode: 0o120777, target: 'some/where \xff', mtimeSec: 7 })
        .add('dir/pipe', { mode: 0o010622 })
        .add('dir/device', { mode: 0o020666, rdev: (259 << 8) | 3 | (1 << 20) })
        .add(`dir/${ODD_NAME}`, { mode: 0o100644, content: 'odd' })
        .add(`dir/${'n'.repeat(255)}`, { mode: 0o100644 })
        .add('big', {
          mode: 0o100644,
          content: BIG,
          xattrs: [
            ['security.capability', new Uint8Array([1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
            ['user.text', new Uint8Array([1, 0, 255])],
          ],
        })
        .hardlink('dir/big2', 'big')
        .add('same', { mode: 0o100600, content: BIG })
        .add('gone', { mode: 0o100644, content: 'gone before it was ever read' })
        .add('cut', { mode: 0o100644, content: 'cut short' })
        .add('true', { mode: 0o100755, content: readFileSync('/bin/true') })
        .add('many', { mode: 0o040755 });
      for (let i = 0; i < 5000; i++) source.add(`many/entry-${String(i)}`, { mode: 0o100644, content: String(i) });
      await source.finish();
      at = await mountIt();
    });
    afterAll(async () => {
      for (const folder of mounted) await unmount(source.root, folder, { lazy: true });
      source.remove();
    });

    test('shows every attribute as the tree has it', () => {
      const folder = lstatSync(join(at, 'dir'), { bigint: true });
      expect(folder).toMatchObject({ mode: 0o041777n, uid: 1n, gid: 2n, nlink: 2n, ino: BigInt(source.ino('dir')) });
      // Times before 1970 are beyond the binding.
      expect(folder.mtimeNs).toBe(native ? 0n : -4_000_000_001n);
      const file = lstatSync(join(at, 'dir/file'), { bigint: true });
      expect(file).toMatchObject({ mode: 0o104755n, uid: 4_000_000_000n, gid: 3n, size: 5n, blocks: 1n });
      expect(file.mtimeNs).toBe(2n ** 33n * 1_000_000_000n);
      expect(shownBytes(readlinkSync(join(at, 'dir/link'), 'buffer'))).toBe('some/where \xff');
      expect(lstatSync(join(at, 'dir/pipe')).isFIFO()).toBe(true);
      const device = lstatSync(join(at, 'dir/device'));
      expect([device.isCharacterDevice(), device.rdev >> 8, device.rdev & 0xff]).toEqual([true, 259 + 0x1000, 3]);
    });

    test('lists names of any bytes, twice the same, with . and .. as they are', () => {
      const names = readdirSync(join(at, 'dir'), 'buffer').map(shownBytes);
      expect(names.toSorted()).toEqual(
        ['big2', 'device', 'empty', 'file', 'link', 'n'.repeat(255), ODD_NAME, 'pipe'].toSorted(),
      );
      expect(readdirSync(join(at, 'dir'), 'buffer').map(shownBytes)).toEqual(names);
      expect(
        readFileSync(native ? join(at, 'dir', textOf(ODD_NAME)) : rawPath(join(at, 'dir'), ODD_NAME), 'utf8'),
      ).toBe('odd');
      expect(lstatSync(join(at, 'dir/.')).ino).toBe(source.ino('dir'));
      expect(lstatSync(join(at, 'dir/..')).ino).toBe(1);
      const many = readdirSync(join(at, 'many'));
      expect([many.length, new Set(many).size]).toEqual([5000, 5000]);
    });

    test('keeps hard links one inode', () => {
      const [a, b] = [lstatSync(join(at, 'big')), lstatSync(join(at, 'dir/big2'))];
      expect([a.ino, a.nlink]).toEqual([b.ino, 2]);
      expect(lstatSync(join(at, 'same')).ino).not.toBe(a.ino);
    });

    test('has the xattrs of the tree and no others', () => {
      expect(listXattrs(join(at, 'big')).toSorted()).toEqual(['security.capability', 'user.text']);
      expect(getXattr(join(at, 'big'), 'user.text')).toEqual(new Uint8Array([1, 0, 255]));
      expect(getXattr(join(at, 'big'), 'user.other')).toBeUndefined();
      expect(listXattrs(join(at, 'dir'))).toEqual([]);
    });

    test('reads content, whole and in the middle, of names that share an object', () => {
      for (const name of ['big', 'same', 'dir/big2']) expect(readFileSync(join(at, name)).equals(BIG)).toBe(true);
      expect(readFileSync(join(at, 'dir/empty')).length).toBe(0);
      const fd = openSync(join(at, 'big'), 'r');
      const part = Buffer.alloc(100_000);
      readSync(fd, part, 0, part.length, 1_234_567);
      closeSync(fd);
      expect(part.equals(BIG.subarray(1_234_567, 1_334_567))).toBe(true);
    });

    test('runs programs from it', () => {
      expect(execFileSync(join(at, 'true')).length).toBe(0);
    });

    test('serves 16 readers at once', async () => {
      const sums = await Promise.all(
        Array.from({ length: 16 }, async () => (await run('sha256sum', [join(at, 'big'), join(at, 'same')])).stdout),
      );
      expect(new Set(sums).size).toBe(1);
    });

    // Again, as a busy machine may be too slow to see it: what nobody comes for is closed soon.
    test(
      `reads ${native ? 'nothing ' : ''}ahead: whoever goes through files finds the next ones opened`,
      { retry: 4 },
      async () => {
        const folder = source.newFolder();
        const { pid } = await spawnServer(source, 'test:latest', folder, { passthrough, transport });
        mounted.push(folder);
        const names = readdirSync(join(folder, 'many')).slice(100, 110);
        for (const name of names.slice(0, 3)) readFileSync(join(folder, 'many', name));
        const next = names.slice(3).map(contentOf);
        await expect.poll(() => openObjects(pid, next)).toEqual(native ? [] : next);
        await expect.poll(() => openObjects(pid, next), { timeout: 10_000 }).toEqual([]);
        for (const name of names) expect(readFileSync(join(folder, 'many', name), 'utf8')).toBe(contentOf(name));
      },
    );

    test('answers statfs with the size of the tree', () => {
      const { bfree, files, blocks } = statfsSync(at);
      expect(bfree).toBe(0);
      expect(files).toBe(source.builder.inodeCount);
      expect(blocks).toBeGreaterThan(BIG.length / 4096);
    });

    test('goes on reading an object that is unlinked, and gives EIO for one that is not there', async () => {
      const fresh = await mountIt();
      const [, log] = [readFileSync(join(fresh, 'dir/file')), join(source.root, 'mounts')];
      const fd = openSync(join(fresh, 'same'), 'r');
      const some = Buffer.alloc(4096);
      readSync(fd, some, 0, 4096, 0);
      const object = source.objectFile(BIG);
      fs.renameSync(object, `${object}.away`);
      const rest = Buffer.alloc(BIG.length - 4096);
      for (let done = 0; done < rest.length;) done += readSync(fd, rest, done, rest.length - done, 4096 + done);
      fs.renameSync(`${object}.away`, object);
      closeSync(fd);
      expect(rest.equals(BIG.subarray(4096))).toBe(true);
      const gone = source.objectFile('gone before it was ever read');
      rmSync(gone);
      fs.truncateSync(source.objectFile('cut short'), 3);
      for (const name of ['gone', 'cut']) expect(() => readFileSync(join(fresh, name))).toThrow(/EIO/);
      const logs = readdirSync(log).filter((name) => name.endsWith('.log'));
      expect(logs.length).toBe(1);
      expect(readFileSync(join(log, logs[0] ?? ''), 'utf8')).toMatch(/object [0-9a-f]{64} cannot be opened \(ENOENT\)/);
      rmSync(join(log, logs[0] ?? ''));
    });

    test.each([false, true])(
      'refuses every change with EROFS, and no object changes (remounted writable: %s)',
      async (rw) => {
        const fresh = await mountIt();
        const file = join(fresh, 'dir/file');
        if (rw) mount('none', fresh, '', MS.REMOUNT);
        const { O_RDWR, O_WRONLY, O_TRUNC, O_CREAT, O_APPEND } = constants;
        const attempts: [string, () => unknown][] = [
          ...[O_RDWR, O_WRONLY, O_WRONLY | O_TRUNC, O_RDWR | O_CREAT, O_WRONLY | O_APPEND].map(
            (flags): [string, () => unknown] => [`open ${String(flags)}`, () => writeThrough(file, flags)],
          ),
          ['open O_RDONLY|O_TRUNC', () => closeSync(openSync(file, O_TRUNC))],
          ['create', () => fs.writeFileSync(join(fresh, 'new'), 'x')],
          ['truncate', () => fs.truncateSync(file, 1)],
          ['chmod', () => fs.chmodSync(file, 0o777)],
          ['chown', () => fs.chownSync(file, 5, 5)],
          ['utimes', () => fs.utimesSync(file, 1, 1)],
          ['unlink', () => fs.unlinkSync(file)],
          ['rename', () => fs.renameSync(file, join(fresh, 'other'))],
          ['link', () => fs.linkSync(file, join(fresh, 'other'))],
          ['symlink', () => fs.symlinkSync('x', join(fresh, 'other'))],
          ['mkdir', () => fs.mkdirSync(join(fresh, 'other'))],
          ['rmdir', () => fs.rmdirSync(join(fresh, 'dir'))],
          ['setxattr', () => setXattr(file, 'user.x', new Uint8Array([1]))],
          ['tmpfile', () => closeSync(openSync(fresh, O_RDWR | 0o20200000))],
        ];
        const reader = openSync(file, 'r');
        for (const [what, attempt] of attempts) {
          let code = 'none';
          try {
            attempt();
          } catch (error) {
            code = error instanceof ErrnoError ? error.code : ((error as NodeJS.ErrnoException).code ?? '?');
          }
          // libfuse 2 knows no O_TMPFILE, which the kernel says before it asks whether the mount is writable.
          const expected = native && rw && what === 'tmpfile' ? 'ENOTSUP' : 'EROFS';
          expect(`${what}: ${code}`).toBe(`${what}: ${expected}`);
        }
        closeSync(reader);
        expect(readFileSync(source.objectFile('hello'), 'utf8')).toBe('hello');
        expect(existsSync(join(fresh, 'other'))).toBe(false);
        await unmount(source.root, fresh, {});
        mounted.splice(mounted.indexOf(fresh), 1);
      },
    );

    test('writes a line for each request into the trace', async () => {
      const trace = join(source.folder, 'trace.txt');
      const fresh = await mountIt({ trace });
      lstatSync(join(fresh, 'dir/file'));
      expect(() => lstatSync(join(fresh, 'dir/none'))).toThrow(/ENOENT/);
      await unmount(source.root, fresh, {});
      mounted.splice(mounted.indexOf(fresh), 1);
      const lines = readFileSync(trace, 'utf8').trim().split('\n');
      const fields = lines.map((line) => line.split('\t'));
      expect(fields.every((line) => line.length === 7)).toBe(true);
      expect(fields.some((line) => line[1] === 'LOOKUP' && line[3] === '/dir/file' && line[5] === 'ok')).toBe(true);
      rmSync(trace);
    });
  },
);
