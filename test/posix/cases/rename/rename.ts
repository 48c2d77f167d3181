import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import * as xattrs from '../../harness/xattrs.js';

export const rename = new Family('rename');
const { add } = rename;
const NOREPLACE = 1;
const EXCHANGE = 2;

/** d/x, d/e/y, d/e/f/z; o is empty. */
function tree(): void {
  folder('d');
  file('d/x', { content: 'x' });
  folder('d/e', { mode: 0o751 });
  file('d/e/y', { content: 'y' });
  folder('d/e/f');
  file('d/e/f/z', { content: 'z' });
  folder('o');
}

add('of a folder into itself is EINVAL', { prepare: tree }, () => {
  for (const to of ['d/new', 'd/e/new', 'd/e/f', 'd/o']) {
    expectErrno('EINVAL', () => sys.rename('d', to), to);
    if (to !== 'd/e/f') expectErrno('EINVAL', () => sys.rename('d', to, NOREPLACE), to);
  }
  expectErrno('EINVAL', () => sys.rename('d', 'd/e', EXCHANGE));
  expectErrno('EINVAL', () => sys.rename('d/e', 'd', EXCHANGE));
  expectErrno(['ENOTEMPTY', 'EEXIST'], () => sys.rename('d/e', 'd'));
  expectErrno(['ENOTEMPTY', 'EEXIST'], () => sys.rename('d/e/f/z', 'd'));
  assert.equal(content.readFile('d/e/f/z'), 'z');
});

add('of a name to itself changes nothing', { prepare: tree }, () => {
  sys.rename('d', 'd');
  sys.rename('d/x', 'd/x');
  sys.rename('d/x', 'd/../d/x');
  sys.rename('d/x', 'd/x', EXCHANGE);
  expectErrno('EEXIST', () => sys.rename('d/x', 'd/x', NOREPLACE));
  assert.deepEqual(sys.names('d'), ['e', 'x']);
});

add('of dots is EBUSY or EINVAL', { prepare: tree }, () => {
  for (const [from, to] of [
    ['.', 'new'],
    ['d/.', 'new'],
    ['d/..', 'new'],
    ['o', 'd/.'],
    ['o', 'd/..'],
    ['..', 'new'],
  ]) {
    expectErrno(['EBUSY', 'EINVAL'], () => sys.rename(from, to), `${from} to ${to}`);
  }
});

add('takes a slash behind folders alone', { prepare: tree }, () => {
  expectErrno('ENOTDIR', () => sys.rename('d/x/', 'new'));
  expectErrno('ENOTDIR', () => sys.rename('d/x', 'new/'));
  sys.rename('d/', 'new/');
  assert.deepEqual(sys.names('new'), ['e', 'x']);
});

add('knows which flags contradict', { prepare: tree }, () => {
  expectErrno('EINVAL', () => sys.rename('d/x', 'new', NOREPLACE | EXCHANGE));
  expectErrno('EINVAL', () => sys.rename('d/x', 'new', 0x100));
  expectErrno('EINVAL', () => sys.rename('d/x', 'o', 4 | EXCHANGE));
});

add('moves a tree with all that is in it', { prepare: tree }, () => {
  const ino = sys.stat('d/e/f/z').ino;
  sys.rename('d', 'o/moved');
  assert.deepEqual(sys.names(), ['o']);
  assert.deepEqual(sys.names('o/moved/e'), ['f', 'y']);
  assert.equal(content.readFile('o/moved/e/f/z'), 'z');
  assert.equal(sys.stat('o/moved/e/f/z').ino, ino);
  assert.equal(sys.stat('o/moved/e').perm, 0o751);
});

add('a moved tree can be changed', { prepare: tree }, () => {
  sys.rename('d', 'm');
  content.overwrite('m/e/f/z', 'Z');
  sys.unlink('m/e/y');
  sys.rename('m/e', 'm/g');
  file('m/g/f/new');
  sys.chmod('m/g', 0o700);
  assert.equal(content.readFile('m/g/f/z'), 'Z');
  assert.deepEqual([sys.names('m'), sys.names('m/g'), sys.names('m/g/f')], [['g', 'x'], ['f'], ['new', 'z']]);
  sys.rename('m/g/f', 'f');
  assert.equal(content.readFile('f/z'), 'Z');
  expectErrno('ENOTEMPTY', () => sys.rmdir('m'));
});

add('a new folder under the old name has nothing of the moved one', { prepare: tree }, () => {
  sys.rename('d', 'm');
  sys.mkdir('d');
  assert.deepEqual(sys.names('d'), []);
  expectErrno('ENOENT', () => sys.stat('d/x'));
  expectErrno('ENOENT', () => sys.stat('d/e'));
  sys.mkdir('d/e');
  assert.deepEqual(sys.names('d/e'), []);
  assert.deepEqual(sys.names('m/e'), ['f', 'y']);
});

add('a folder moved to the name of a removed one has nothing of that', { prepare: tree }, () => {
  for (const name of ['d/e/f/z', 'd/e/y', 'd/x']) sys.unlink(name);
  for (const name of ['d/e/f', 'd/e', 'd']) sys.rmdir(name);
  sys.mkdir('new');
  file('new/own');
  sys.rename('new', 'd');
  assert.deepEqual(sys.names('d'), ['own']);
  expectErrno('ENOENT', () => sys.stat('d/x'));
});

add('a new folder moved over an emptied one has nothing of that', { prepare: tree }, () => {
  sys.unlink('d/e/f/z');
  sys.mkdir('new');
  file('new/own');
  sys.rename('new', 'd/e/f');
  assert.deepEqual(sys.names('d/e/f'), ['own']);
  expectErrno('ENOENT', () => sys.stat('d/e/f/z'));
});

add('a name goes round and comes back', { prepare: tree }, () => {
  const before = [sys.stat('d').ino, sys.stat('d/x').ino];
  for (const to of ['a', 'b', 'o/c', 'd']) sys.rename(sys.names().find((name) => name !== 'o') ?? 'o/c', to);
  sys.rename('d/x', 'd/e/x');
  sys.rename('d/e/x', 'd/x');
  assert.deepEqual([sys.stat('d').ino, sys.stat('d/x').ino], before);
  assert.equal(content.readFile('d/x'), 'x');
  assert.deepEqual(
    [sys.names(), sys.names('d')],
    [
      ['d', 'o'],
      ['e', 'x'],
    ],
  );
});

add('two folders change places by way of a third name', { prepare: tree }, () => {
  sys.rename('d', 't');
  sys.rename('o', 'd');
  sys.rename('t', 'o');
  assert.deepEqual([sys.names('d'), sys.names('o')], [[], ['e', 'x']]);
  assert.equal(content.readFile('o/e/y'), 'y');
});

add('EXCHANGE swaps trees, also of different depth', { prepare: tree }, () => {
  sys.rename('d/e', 'o', EXCHANGE);
  assert.deepEqual([sys.names('d/e'), sys.names('o')], [[], ['f', 'y']]);
  assert.equal(content.readFile('o/f/z'), 'z');
  sys.rename('d/x', 'o/f', EXCHANGE);
  assert.equal(content.readFile('o/f'), 'x');
  assert.deepEqual(sys.names('d/x'), ['z']);
  sys.rename('d/x', 'o/f', EXCHANGE);
  assert.equal(content.readFile('d/x'), 'x');
});

add('keeps owner, mode, times and xattrs', { root: true, prepare: tree }, () => {
  for (const name of ['d', 'd/x']) {
    xattrs.setxattr(name, 'user.a', name);
    sys.chmod(name, 0o4750);
    sys.utimens(name, 5n, 6n);
  }
  sys.rename('d/x', 'y');
  sys.utimens('d', 5n, 6n);
  sys.rename('d', 'c');
  for (const [name, was] of [
    ['y', 'd/x'],
    ['c', 'd'],
  ]) {
    assert.equal(xattrs.getxattr(name, 'user.a'), was);
    assert.deepEqual([sys.stat(name).perm, sys.stat(name).mtime], [0o4750, 6n]);
  }
});

add('leaves descriptors open', { prepare: tree }, () => {
  sys.withFd('d/x', sys.O.RDWR, (fd) =>
    sys.withFd('d/e', sys.O.RDONLY, (folderFd) => {
      sys.rename('d/x', 'o/x');
      sys.rename('d', 'c');
      content.write(fd, 'X');
      assert.equal(content.readFile('o/x'), 'X');
      const inside = sys.openat(folderFd, 'y', sys.O.RDONLY);
      assert.equal(content.read(inside, 5), 'y');
      sys.close(inside);
      assert.deepEqual(sys.fstat(folderFd).ino, sys.stat('c/e').ino);
    }),
  );
});

add('moves the current folder along', { prepare: tree }, () => {
  sys.withFd('.', sys.O.RDONLY, (back) => {
    sys.chdir('d/e');
    try {
      sys.rename('../../d', '../../c');
      assert.equal(content.readFile('y'), 'y');
      file('new');
      assert.equal(sys.stat('..').ino, sys.stat('../../c').ino);
    } finally {
      sys.fchdir(back);
    }
  });
  assert.deepEqual(sys.names('c/e'), ['f', 'new', 'y']);
});

add(
  'over a file with another name leaves that',
  { prepare: () => (file('x'), file('y', { content: 'other' }), sys.link('y', 'z')) },
  () => {
    assert.equal(sys.stat('z').nlink, 2);
    sys.rename('x', 'y');
    assert.deepEqual([sys.stat('z').nlink, content.readFile('z'), content.readFile('y')], [1, 'other', 'content\n']);
  },
);

add('of one of two names', { prepare: () => (file('x'), sys.link('x', 'y'), folder('d')) }, () => {
  const { ino } = sys.stat('x');
  sys.rename('y', 'd/z');
  assert.deepEqual([sys.stat('d/z').ino, sys.stat('x').nlink], [ino, 2]);
  content.overwrite('x', 'CON');
  assert.equal(content.readFile('d/z'), 'CONtent\n');
});

add('a removed name gives way to another', { prepare: () => (file('x'), file('y', { content: 'other' })) }, () => {
  sys.unlink('y');
  sys.rename('x', 'y', NOREPLACE);
  assert.equal(content.readFile('y'), 'content\n');
  expectErrno('ENOENT', () => sys.stat('x'));
  file('x', { content: 'new' });
  sys.rename('x', 'y');
  assert.deepEqual([sys.names(), content.readFile('y')], [['y'], 'new']);
});

add('a save as editors do it', { prepare: () => (file('x', { mode: 0o600 }), sys.symlink('x', 'l')) }, () => {
  for (let i = 0; i < 20; i++) {
    file('x.tmp', { content: `version ${String(i)}`, mode: 0o600 });
    sys.withFd('x.tmp', sys.O.RDWR, (fd) => content.fdatasync(fd));
    sys.rename('x.tmp', 'x');
    assert.equal(content.readFile('l'), `version ${String(i)}`);
  }
  assert.deepEqual(sys.names(), ['l', 'x']);
});
