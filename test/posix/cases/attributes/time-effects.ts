import { strict as assert } from 'node:assert';
import { utimesSync } from 'node:fs';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectTimes, type Changes } from '../../harness/effects.js';
import { expectErrno, expectRecent, nextTick } from '../../harness/expect.js';
import { Family, Skip } from '../../harness/family.js';
import { TYPES, file, folder, make } from '../../harness/fixtures.js';
import { OTHER, OWNER, asUser } from '../../harness/users.js';
import * as xattrs from '../../harness/xattrs.js';

export const timeEffects = new Family('times');
const { add } = timeEffects;
const { O } = sys;

/** x and z are one file, d holds d/f, e is empty; xattr user.a on x. */
function prepare(): void {
  file('x', { owner: OWNER, content: 'some content' });
  sys.link('x', 'z');
  xattrs.setxattr('x', 'user.a', '1');
  file('y');
  file('empty', { content: '' });
  sys.symlink('x', 'l');
  sys.mkfifo('p');
  folder('d');
  file('d/f');
  folder('e');
}

function effect(what: string, changes: Changes, act: () => void): void {
  add(what, { root: true, prepare }, () => expectTimes(changes, 'changes', act));
  // Not where nothing is to stay.
  if (Object.values(changes).some((letters) => !letters.includes('c'))) {
    add(`${what}: ctime that stays`, { root: true, prepare }, () => expectTimes(changes, 'ctime that stays', act));
  }
}

const STILL = { x: '', '.': '' };

effect('chmod', { x: 'c', z: 'c', '.': '' }, () => sys.chmod('x', 0o600));
effect('fchmod', { x: 'c', '.': '' }, () => sys.withFd('x', O.RDONLY, (fd) => sys.fchmod(fd, 0o600)));
effect('chmod of a folder', { d: 'c', '.': '' }, () => sys.chmod('d', 0o700));
effect('chown', { x: 'c', z: 'c', '.': '' }, () => sys.chown('x', 1, 1));
effect('lchown of a link', { l: 'c', x: '', '.': '' }, () => sys.lchown('l', 1, 1));
effect('chown of a folder', { d: 'c', '.': '' }, () => sys.chown('d', 1, 1));
effect('utimensat of mtime alone', { x: 'mc', '.': '' }, () => sys.utimens('x', 'omit', 'now'));
effect('utimensat of atime alone', { x: 'a?c', '.': '' }, () => sys.utimens('x', 'now', 'omit'));
effect('setxattr', { x: 'c', '.': '' }, () => xattrs.setxattr('x', 'user.b', '2'));
effect('setxattr of a folder', { d: 'c', '.': '' }, () => xattrs.setxattr('d', 'user.b', '2'));
effect('removexattr', { x: 'c', '.': '' }, () => xattrs.removexattr('x', 'user.a'));
effect('getxattr and listxattr', STILL, () => {
  xattrs.getxattr('x', 'user.a');
  xattrs.listxattr('x');
});

effect('write', { x: 'mc', z: 'mc', '.': '' }, () => content.overwrite('x', 'new'));
effect('write of nothing', STILL, () => content.overwrite('x', ''));
effect('write that appends', { x: 'mc', '.': '' }, () => content.overwrite('x', 'new', O.WRONLY | O.APPEND));
effect('truncate to less', { x: 'mc', '.': '' }, () => content.truncate('x', 3));
effect('truncate to more', { x: 'mc', '.': '' }, () => content.truncate('x', 3000));
effect('ftruncate to the same size', { x: 'mc', '.': '' }, () =>
  sys.withFd('x', O.RDWR, (fd) => content.ftruncate(fd, 12)),
);
effect('open with O_TRUNC', { x: 'mc', '.': '' }, () => sys.withFd('x', O.WRONLY | O.TRUNC, () => undefined));
effect('open with O_TRUNC of an empty file', { empty: 'mc', '.': '' }, () =>
  sys.withFd('empty', O.WRONLY | O.TRUNC, () => undefined),
);
effect('open of an existing file with O_CREAT', STILL, () => sys.withFd('x', O.RDWR | O.CREAT, () => undefined));
effect('open and close', STILL, () => {
  for (const flags of [O.RDONLY, O.WRONLY, O.RDWR, O.WRONLY | O.APPEND]) sys.withFd('x', flags, () => undefined);
});
effect('read', { x: 'a?', '.': '' }, () => void content.readFile('x'));
effect('read of a folder', { d: 'a?', '.': '' }, () => void sys.readdir('d'));
effect('readlink', { l: 'a?', x: '', '.': '' }, () => void sys.readlink('l'));
effect('stat, access, a walk', { x: '', l: 'a?', d: '', 'd/f': '', '.': '' }, () => {
  sys.stat('l');
  sys.access('d/f', 4);
});
effect('fsync', STILL, () => sys.withFd('x', O.RDWR, (fd) => content.fsync(fd)));
effect('fallocate of more', { x: 'mc', '.': '' }, () =>
  sys.withFd('x', O.RDWR, (fd) => content.fallocate(fd, 0, 0, 9000)),
);
effect('fallocate that punches a hole', { x: 'mc', '.': '' }, () =>
  sys.withFd('x', O.RDWR, (fd) => content.fallocate(fd, 3, 0, 8)),
);
effect('copy_file_range', { x: 'mc', y: 'a?', '.': '' }, () =>
  sys.withFd('y', O.RDONLY, (from) => sys.withFd('x', O.WRONLY, (to) => content.copyFileRange(from, to, 4))),
);
effect('write through a mapping', { x: 'a?mc', '.': '' }, () =>
  sys.withFd('x', O.RDWR, (fd) => {
    const map = new content.Mapping(fd, 12, content.PROT.READ | content.PROT.WRITE, content.MAP.SHARED);
    map.write(0, 'mapped');
    map.sync();
    map.unmap();
  }),
);

effect('create', { '.': 'mc', x: '' }, () => file('new'));
effect('create in a folder', { d: 'mc', 'd/f': '', '.': '' }, () => file('d/new'));
effect('mkdir', { '.': 'mc', d: '' }, () => sys.mkdir('new'));
effect('mkdir in a folder', { d: 'mc', '.': '' }, () => sys.mkdir('d/new'));
effect('mkfifo', { '.': 'mc' }, () => sys.mkfifo('new'));
effect('mknod', { '.': 'mc' }, () => sys.mknod('new', sys.S.CHR | 0o600, 0x103));
effect('symlink', { '.': 'mc', x: '' }, () => sys.symlink('x', 'new'));
effect('link', { x: 'c', z: 'c', '.': 'mc' }, () => sys.link('x', 'new'));
effect('link into a folder', { x: 'c', d: 'mc', '.': '' }, () => sys.link('x', 'd/new'));
effect('unlink of one of two names', { z: 'c', '.': 'mc' }, () => sys.unlink('x'));
effect('unlink of the last name', { '.': 'mc', x: '' }, () => sys.unlink('y'));
effect('unlink in a folder', { d: 'mc', '.': '' }, () => sys.unlink('d/f'));
effect('rmdir', { '.': 'mc', d: '' }, () => sys.rmdir('e'));
effect('rename', { 'x>new': 'c?', '.': 'mc', d: '' }, () => sys.rename('x', 'new'));
effect('rename into a folder', { 'x>d/new': 'c?', d: 'mc', '.': 'mc' }, () => sys.rename('x', 'd/new'));
effect('rename over a file', { 'y>x': 'c?', z: 'c', '.': 'mc' }, () => sys.rename('y', 'x'));
effect('rename of a folder', { 'd>new': 'c?', '.': 'mc' }, () => sys.rename('d', 'new'));
effect('rename of a folder into another', { 'e>d/e': 'm?c?', d: 'mc', '.': 'mc' }, () => sys.rename('e', 'd/e'));
effect('rename over an empty folder', { 'd>e': 'c?', '.': 'mc' }, () => sys.rename('d', 'e'));
effect('rename that exchanges', { 'x>d/f': 'c?', 'd/f>x': 'c?', d: 'mc', '.': 'mc' }, () => sys.rename('x', 'd/f', 2));
effect('rename to the same file', { x: 'c?', z: 'c?', '.': '' }, () => sys.rename('x', 'z'));

effect('calls that fail', { x: '', d: '', e: '', l: '', '.': '' }, () => {
  expectErrno('EEXIST', () => sys.mkdir('x'));
  expectErrno('EEXIST', () => sys.link('y', 'x'));
  expectErrno('EEXIST', () => sys.symlink('y', 'x'));
  expectErrno('EEXIST', () => sys.open('x', O.CREAT | O.EXCL | O.WRONLY));
  expectErrno('EEXIST', () => sys.rename('y', 'x', 1));
  expectErrno('ENOENT', () => sys.unlink('nothing'));
  expectErrno('ENOENT', () => sys.rename('nothing', 'x'));
  expectErrno('ENOTEMPTY', () => sys.rmdir('d'));
  expectErrno('ENODATA', () => xattrs.removexattr('x', 'user.none'));
  asUser(OTHER, () => {
    expectErrno('EPERM', () => sys.chmod('x', 0));
    expectErrno('EPERM', () => sys.chown('x', OTHER.uid, -1));
    expectErrno('EACCES', () => content.truncate('x', 0));
    expectErrno('EACCES', () => sys.open('x', O.WRONLY | O.TRUNC));
    expectErrno('EACCES', () => sys.unlink('d/f'));
  });
});

for (const type of TYPES) {
  add(`a new ${type} has three equal times, of now`, { root: true }, () => {
    make(type, 'x');
    const { atime, mtime, ctime } = sys.lstat('x');
    expectRecent(mtime, 'mtime');
    // Making one takes several calls (write, chmod), hence several ticks of the clock.
    for (const time of [atime, ctime]) assert.ok(time - mtime < 100_000_000n && mtime - time < 100_000_000n);
  });
}

add('writes one after the other move mtime on', { prepare: () => file('x') }, () => {
  sys.withFd('x', O.WRONLY, (fd) => {
    let before = sys.fstat(fd);
    for (let i = 0; i < 3; i++) {
      nextTick();
      content.write(fd, 'x');
      const after = sys.fstat(fd);
      assert.ok(after.mtime > before.mtime && after.ctime > before.ctime, `write ${String(i)}`);
      before = after;
    }
  });
});

add('a written mtime survives fsync, close and a look by name', { prepare: () => file('x') }, () => {
  const at = sys.withFd('x', O.WRONLY, (fd) => {
    content.write(fd, 'x');
    return sys.fstat(fd).mtime;
  });
  nextTick();
  assert.equal(sys.stat('x').mtime, at);
  sys.withFd('x', O.RDWR, (fd) => content.fsync(fd));
  assert.equal(sys.stat('x').mtime, at);
});

add('a set mtime survives the close of a descriptor that wrote before', { prepare: () => file('x') }, () => {
  sys.withFd('x', O.WRONLY, (fd) => {
    content.write(fd, 'x');
    sys.utimens('x', 1n, 2n);
  });
  assert.equal(sys.stat('x').mtime, 2n);
});

add('reading an old file gives it a new atime', { prepare: () => file('x') }, () => {
  utimesSync('x', 1, 2);
  void content.readFile('x');
  const { atime } = sys.stat('x');
  if (atime === 1_000_000_000n) throw new Skip('mounted with noatime');
  expectRecent(atime, 'atime');
});
