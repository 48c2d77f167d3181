import { strict as assert } from 'node:assert';
import { MS, mount, umount2 } from '@layerfs/linux';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import * as xattrs from '../../harness/xattrs.js';
import { MAKERS } from '../names/makers.js';

export const mounts = new Family('mounts');
const { add } = mounts;
const { O } = sys;

const prepare = (): void => {
  folder('d');
  file('d/x');
  folder('d/e');
  sys.symlink('x', 'd/l');
  sys.mkfifo('d/p', 0o666);
  xattrs.setxattr('d/x', 'user.a', '1');
  folder('m');
};

/** Shows d at m as well. */
function withBind(flags: number, run: () => void): void {
  mount('d', 'm', '', MS.BIND);
  try {
    if (flags !== 0) mount('none', 'm', '', MS.REMOUNT | MS.BIND | flags);
    run();
  } finally {
    umount2('m');
  }
}

const CHANGES: readonly [string, () => unknown][] = [
  ...[O.WRONLY, O.RDWR, O.RDONLY | O.TRUNC, O.WRONLY | O.APPEND].map((flags): [string, () => unknown] => [
    `open 0${flags.toString(8)}`,
    () => sys.open('m/x', flags),
  ]),
  ['truncate', () => content.truncate('m/x', 0)],
  ['chmod', () => sys.chmod('m/x', 0o600)],
  ['chown', () => sys.chown('m/x', 1, 1)],
  ['lchown', () => sys.lchown('m/l', 1, 1)],
  ['utimensat', () => sys.utimens('m/x', 1n, 1n)],
  ['unlink', () => sys.unlink('m/x')],
  ['rmdir', () => sys.rmdir('m/e')],
  ['rename', () => sys.rename('m/x', 'm/y')],
  ['link', () => sys.link('m/x', 'm/y')],
  ['setxattr', () => xattrs.setxattr('m/x', 'user.b', '1')],
  ['removexattr', () => xattrs.removexattr('m/x', 'user.a')],
  ['access for writing', () => sys.access('m/x', sys.ACCESS.W)],
  ['O_TMPFILE', () => sys.open('m', O.TMPFILE | O.RDWR, 0o600)],
  ...MAKERS.map(({ what, make }): [string, () => unknown] => [what, () => make('m/new', 0o644)]),
];

for (const [what, change] of CHANGES) {
  add(`${what} where it is mounted read-only is EROFS`, { root: true, prepare }, () => {
    withBind(MS.RDONLY, () => expectErrno('EROFS', change));
    assert.equal(content.readFile('d/x'), 'content\n');
    assert.deepEqual(sys.names('d'), ['e', 'l', 'p', 'x']);
  });
}

add('where it is mounted read-only, reading and FIFOs work', { root: true, prepare }, () => {
  withBind(MS.RDONLY, () => {
    assert.equal(content.readFile('m/x'), 'content\n');
    assert.equal(xattrs.getxattr('m/x', 'user.a'), '1');
    sys.withFd('m/p', O.RDWR, (fd) => content.write(fd, 'x'));
    expectErrno('EEXIST', () => sys.mkdir('m/x'));
  });
});

add('link and rename between mounts are EXDEV', { root: true, prepare }, () => {
  withBind(0, () => {
    expectErrno('EXDEV', () => sys.link('d/x', 'm/y'));
    expectErrno('EXDEV', () => sys.rename('d/x', 'm/y'));
    expectErrno('EXDEV', () => sys.rename('m/x', 'd/y'));
    expectErrno('EXDEV', () => sys.rename('d/x', '/proc/y'));
    content.overwrite('m/x', 'CON');
    assert.equal(content.readFile('d/x'), 'CONtent\n');
    assert.equal(sys.stat('m/x').ino, sys.stat('d/x').ino);
  });
});

add('a mountpoint is EBUSY', { root: true, prepare }, () => {
  withBind(0, () => {
    expectErrno('EBUSY', () => sys.rmdir('m'));
    expectErrno('EBUSY', () => sys.rename('m', 'n'));
    expectErrno('EBUSY', () => sys.rename('d', 'm'));
  });
  sys.rmdir('m');
});

add('noexec, nodev and nosuid mounts of it hold', { root: true, prepare }, () => {
  file('d/s', { content: '#!/bin/sh\n', mode: 0o755 });
  sys.mknod('d/null', sys.S.CHR | 0o666, (1 << 8) | 3);
  withBind(MS.NOEXEC | MS.NODEV, () => {
    expectErrno('EACCES', () => sys.access('m/s', sys.ACCESS.X));
    expectErrno('EACCES', () => sys.open('m/null', O.RDONLY));
  });
});
