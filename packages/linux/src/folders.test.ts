import {
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { AT, DT, ErrnoError, O, StatView, errno, openat, AT_FDCWD, readDirents, utimensat } from './index.js';

const root = mkdtempSync(join(tmpdir(), 'layerfs-linux-folders-'));
afterAll(() => rmSync(root, { recursive: true }));

function names(path: string): [name: string, type: number, ino: number][] {
  const fd = openSync(path, 'r');
  const found: [string, number, number][] = [];
  try {
    readDirents(fd, (name, type, low, high) => found.push([name, type, low + high * 2 ** 32]));
  } finally {
    closeSync(fd);
  }
  return found.toSorted((a, b) => (a[0] < b[0] ? -1 : 1));
}

describe('readDirents', () => {
  it('gives names as bytes, types and inode numbers, without . and ..', () => {
    const folder = join(root, 'some');
    mkdirSync(folder);
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0xe4])]), '');
    writeFileSync(join(folder, '..a'), '');
    mkdirSync(join(folder, 'sub'));
    symlinkSync('nowhere', join(folder, 'link'));
    const ino = (name: string): number => lstatSync(join(folder, name)).ino;
    const found = names(folder);
    expect(found.map(([name, type]) => [name, type])).toEqual([
      ['..a', DT.REG],
      ['link', DT.LNK],
      ['sub', DT.DIR],
      ['\xff\xe4', DT.REG],
    ]);
    expect(found[2][2]).toBe(ino('sub'));
  });

  it('reads folders larger than its buffer', () => {
    const folder = join(root, 'large');
    mkdirSync(folder);
    writeFileSync(join(folder, 'x'), '');
    const long = 'n'.repeat(200);
    for (let i = 0; i < 2500; i++) linkSync(join(folder, 'x'), join(folder, `${long}${String(i)}`));
    expect(new Set(names(folder).map(([name]) => name)).size).toBe(2501);
  });

  it('throws for what is no folder', () => {
    writeFileSync(join(root, 'file'), '');
    expect(() => names(join(root, 'file'))).toThrow(ErrnoError);
  });
});

describe('StatView', () => {
  it('shows what lstat shows, and gives minus errno without throwing', () => {
    writeFileSync(join(root, 'before'), 'content');
    const dir = openat(AT_FDCWD, root, O.PATH | O.DIRECTORY);
    utimensat(dir, 'before', { sec: -6, nsec: 5e8 }, { sec: 1, nsec: 25e7 });
    const view = new StatView();
    try {
      expect(view.at(dir, Buffer.from('before\0'), AT.SYMLINK_NOFOLLOW)).toBe(0);
      const { mode, nlink, uid, gid, ino, size, blocks, dev } = lstatSync(join(root, 'before'));
      expect({ ...pick(view), dev: view.devMajor * 256 + view.devMinor }).toEqual({
        mode,
        nlink,
        uid,
        gid,
        ino,
        size,
        blocks,
        dev,
      });
      expect([view.atimeSec, view.atimeNsec, view.mtimeSec, view.mtimeNsec]).toEqual([-6, 5e8, 1, 25e7]);
      expect(view.at(dir, Buffer.from('not there\0'), 0)).toBe(-errno.ENOENT);
    } finally {
      closeSync(dir);
    }
  });
});

function pick(view: StatView): object {
  const { mode, nlink, uid, gid, size, blocks, inoLow, inoHigh } = view;
  return { mode, nlink, uid, gid, ino: inoLow + inoHigh * 2 ** 32, size, blocks };
}
