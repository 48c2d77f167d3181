import { strict as assert } from 'node:assert';
import { ErrnoError, errno, ioctl } from '@layerfs/linux';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectEach } from '../../harness/expect.js';
import { Family, Skip } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import * as xattrs from '../../harness/xattrs.js';

/** The flags that chattr sets: ioctl_iflags(2). */
export const chattr = new Family('chattr');
const { add } = chattr;
const { O } = sys;
const GETFLAGS = 0x80086601;
const SETFLAGS = 0x40086602;
const IMMUTABLE = 0x10;
const APPEND = 0x20;

function getFlags(path: string): number {
  return sys.withFd(path, O.RDONLY, (fd) => {
    const bytes = Buffer.alloc(8);
    ioctl(fd, GETFLAGS, bytes);
    return bytes.readUInt32LE(0);
  });
}

function setFlags(path: string, flags: number): void {
  sys.withFd(path, O.RDONLY, (fd) => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(flags, 0);
    ioctl(fd, SETFLAGS, bytes);
  });
}

/** Runs something while a flag is set, which would keep the folder from being removed. */
function withFlag(path: string, flag: number, run: () => void): void {
  let before: number;
  try {
    before = getFlags(path);
    setFlags(path, before | flag);
  } catch (error) {
    const unsupported: number[] = [errno.ENOTTY, errno.EOPNOTSUPP];
    if (error instanceof ErrnoError && unsupported.includes(error.errno)) throw new Skip('no chattr here');
    throw error;
  }
  try {
    assert.equal(getFlags(path) & flag, flag);
    run();
  } finally {
    setFlags(path, before);
  }
}

const prepare = (): void => {
  file('x');
  folder('d');
  file('d/y');
};

add('+i: nobody changes a file', { root: true, prepare }, () => {
  withFlag('x', IMMUTABLE, () => {
    expectEach('EPERM', {
      write: () => sys.open('x', O.WRONLY),
      append: () => sys.open('x', O.WRONLY | O.APPEND),
      truncate: () => content.truncate('x', 0),
      unlink: () => sys.unlink('x'),
      'rename from': () => sys.rename('x', 'y'),
      'rename to': () => sys.rename('d/y', 'x'),
      link: () => sys.link('x', 'y'),
      chmod: () => sys.chmod('x', 0o600),
      chown: () => sys.chown('x', 1, 1),
      utimensat: () => sys.utimens('x', 1n, 1n),
      setxattr: () => xattrs.setxattr('x', 'user.a', '1'),
    });
    assert.equal(content.readFile('x'), 'content\n');
  });
  content.overwrite('x', 'CON');
  sys.unlink('x');
});

add('+a: a file only grows', { root: true, prepare }, () => {
  withFlag('x', APPEND, () => {
    expectEach('EPERM', {
      write: () => sys.open('x', O.WRONLY),
      'open with O_TRUNC': () => sys.open('x', O.WRONLY | O.APPEND | O.TRUNC),
      truncate: () => content.truncate('x', 0),
      unlink: () => sys.unlink('x'),
      rename: () => sys.rename('x', 'y'),
      link: () => sys.link('x', 'y'),
      chmod: () => sys.chmod('x', 0o600),
    });
    content.overwrite('x', 'more', O.WRONLY | O.APPEND);
    assert.equal(content.readFile('x'), 'content\nmore');
  });
});

add('+i: nobody changes the names in a folder', { root: true, prepare }, () => {
  withFlag('d', IMMUTABLE, () => {
    expectEach('EPERM', {
      unlink: () => sys.unlink('d/y'),
      rename: () => sys.rename('d/y', 'y'),
      'rename of the folder': () => sys.rename('d', 'e'),
      chmod: () => sys.chmod('d', 0o700),
      create: () => sys.open('d/new', O.WRONLY | O.CREAT),
      mkdir: () => sys.mkdir('d/new'),
      link: () => sys.link('x', 'd/new'),
      'rename into': () => sys.rename('x', 'd/new'),
    });
    content.overwrite('d/y', 'CON');
    assert.deepEqual(sys.names('d'), ['y']);
  });
});

add('+a: a folder only gets more names', { root: true, prepare }, () => {
  withFlag('d', APPEND, () => {
    file('d/new');
    expectEach('EPERM', {
      unlink: () => sys.unlink('d/y'),
      rename: () => sys.rename('d/y', 'd/z'),
      'rename over': () => sys.rename('d/new', 'd/y'),
    });
    assert.deepEqual(sys.names('d'), ['new', 'y']);
  });
});
