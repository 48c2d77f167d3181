import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  AT_FDCWD,
  ErrnoError,
  O,
  POLL,
  PollSet,
  RENAME,
  RESOLVE,
  close,
  errno,
  eventfd,
  getXattr,
  linkat,
  listXattrs,
  makedev,
  mapFile,
  mkdirat,
  mknodat,
  openReadOnlyClone,
  openat,
  openat2,
  readRaw,
  readlinkat,
  receiveFd,
  removeXattr,
  renameat2,
  seekData,
  seekHole,
  sendFd,
  setXattr,
  socketpair,
  statx,
  symlinkat,
  syncfs,
  unlinkat,
  utimensat,
  writeRaw,
} from './index.js';
import { flock, LOCK, tryFlock } from './lock.js';

let folder: string;
let dir: number;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layerfs-linux-'));
  dir = openat(AT_FDCWD, folder, O.RDONLY | O.DIRECTORY);
});
afterEach(() => {
  close(dir);
  rmSync(folder, { recursive: true });
});

function thrown(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('names', () => {
  it('keeps names that are not UTF-8', () => {
    const name = Uint8Array.of(0xff, 0x2d, 0x80);
    mkdirat(dir, name, 0o700);
    expect(statx(dir, name).mode).toBe(0o40700);
    symlinkat(Uint8Array.of(0xfe), dir, 'link');
    expect([...readlinkat(dir, 'link')]).toEqual([0xfe]);
  });

  it('refuses a NUL byte rather than cutting the name there', () => {
    expect(() => mkdirat(dir, 'a\0b', 0o700)).toThrow(TypeError);
  });

  it('tells errno, call and path of a failure', () => {
    const error = thrown(() => openat(dir, 'missing', O.RDONLY));
    expect(error).toBeInstanceOf(ErrnoError);
    expect(error).toMatchObject({ errno: errno.ENOENT, code: 'ENOENT', syscall: 'openat', path: 'missing' });
  });
});

describe('path calls', () => {
  it('renames without replacing', () => {
    writeFileSync(join(folder, 'a'), 'a');
    writeFileSync(join(folder, 'b'), 'b');
    expect(thrown(() => renameat2(dir, 'a', dir, 'b', RENAME.NOREPLACE))).toMatchObject({ code: 'EEXIST' });
    renameat2(dir, 'a', dir, 'b', RENAME.EXCHANGE);
    expect(readFileSync(join(folder, 'a'), 'utf8')).toBe('b');
  });

  it('links and unlinks', () => {
    writeFileSync(join(folder, 'a'), 'a');
    linkat(dir, 'a', dir, 'b');
    expect(statx(dir, 'b').nlink).toBe(2);
    unlinkat(dir, 'a');
    expect(statx(dir, 'b').nlink).toBe(1);
  });

  it('sets times before 1970 with nanoseconds', () => {
    mkdirat(dir, 'd', 0o700);
    utimensat(dir, 'd', { sec: 1, nsec: 2 }, { sec: -7, nsec: 9 });
    expect(statx(dir, 'd')).toMatchObject({ atimeSec: 1, atimeNsec: 2, mtimeSec: -7, mtimeNsec: 9 });
  });

  it('makes FIFOs', () => {
    mknodat(dir, 'fifo', 0o10600);
    expect(statSync(join(folder, 'fifo')).isFIFO()).toBe(true);
  });

  it('packs device numbers as glibc does', () => {
    expect(makedev(1, 3)).toBe(0x103n);
    expect(makedev(0x12345, 0x6789a)).toBe(0x120006783459an);
  });

  it('does not leave a folder with openat2', () => {
    expect(thrown(() => openat2(dir, '../x', O.RDONLY, RESOLVE.BENEATH))).toMatchObject({ code: 'EXDEV' });
    symlinkat('/', dir, 'out');
    expect(thrown(() => openat2(dir, 'out/etc', O.RDONLY, RESOLVE.NO_SYMLINKS))).toMatchObject({ code: 'ELOOP' });
  });
});

describe('extended attributes', () => {
  it('sets, lists, reads and removes', () => {
    const path = join(folder, 'f');
    writeFileSync(path, '');
    expect(getXattr(path, 'user.none')).toBeUndefined();
    const large = new Uint8Array(2000).fill(7);
    setXattr(path, 'user.a', large);
    expect(getXattr(path, 'user.a')).toEqual(large);
    expect(listXattrs(path)).toContain('user.a');
    removeXattr(path, 'user.a');
    expect(listXattrs(path)).not.toContain('user.a');
  });
});

describe('files', () => {
  it('maps a file and finds its holes', () => {
    const path = join(folder, 'f');
    writeFileSync(path, 'hello');
    const fd = openSync(path, 'r');
    const map = mapFile(fd, 5);
    expect(Buffer.from(map.buffer).toString()).toBe('hello');
    map.unmap();
    expect(seekHole(fd, 0)).toBe(5);
    expect(seekData(fd, 5)).toBeUndefined();
    syncfs(fd);
    closeSync(fd);
  });

  it('locks between open file descriptions', () => {
    const path = join(folder, 'lock');
    writeFileSync(path, '');
    const a = openSync(path, 'r');
    const b = openSync(path, 'r');
    expect(tryFlock(a, LOCK.EX)).toBe(true);
    expect(tryFlock(b, LOCK.SH)).toBe(false);
    flock(a, LOCK.UN);
    expect(tryFlock(b, LOCK.SH)).toBe(true);
    closeSync(a);
    closeSync(b);
  });

  it('wakes a waiter, and reads return minus errno instead of throwing', () => {
    const event = eventfd();
    const set = new PollSet();
    set.add(event);
    expect(set.wait(0)).toBe(0);
    expect(writeRaw(event, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0), 8)).toBe(8);
    expect(set.wait(0)).toBe(1);
    expect(set.ready(0)).toBe(POLL.IN);
    const eight = new Uint8Array(8);
    expect(readRaw(event, eight, 8)).toBe(8);
    expect(readRaw(event, eight, 8)).toBe(-errno.EAGAIN);
    close(event);
  });

  it('sends a descriptor over a socket', () => {
    const path = join(folder, 'f');
    writeFileSync(path, 'sent');
    const fd = openSync(path, 'r');
    const [a, b] = socketpair();
    sendFd(a, fd);
    const received = receiveFd(b);
    expect(received).toBeDefined();
    expect(readFileSync(received ?? -1, 'utf8')).toBe('sent');
    close(a);
    expect(receiveFd(b)).toBeUndefined();
    close(b);
    closeSync(fd);
    close(received ?? -1);
  });
});

describe('read-only view of a folder', () => {
  it('opens files for reading and refuses every write', ({ skip }) => {
    if (process.geteuid?.() !== 0) skip('needs root: mount_setattr(2)');
    writeFileSync(join(folder, 'object'), 'content');
    const view = openReadOnlyClone(folder);
    const fd = openat(view, 'object', O.RDONLY);
    expect(readFileSync(fd, 'utf8')).toBe('content');
    close(fd);
    expect(thrown(() => openat(view, 'object', O.RDWR))).toMatchObject({ code: 'EROFS' });
    expect(thrown(() => openat(view, 'object', O.WRONLY | O.TRUNC))).toMatchObject({ code: 'EROFS' });
    close(view);
    expect(readFileSync(join(folder, 'object'), 'utf8')).toBe('content');
  });
});
