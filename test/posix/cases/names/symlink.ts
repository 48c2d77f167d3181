import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { TYPES, file, folder, make } from '../../harness/fixtures.js';
import { OTHER, OWNER, asUser } from '../../harness/users.js';

export const symlink = new Family('symlink');
const { add } = symlink;

const TARGETS = ['x', '/', '/a/b', '../..', 'with space', 'trailing/', '\xff\xfe', 'x'.repeat(255), '//a//b'];

add(
  'keeps any target as it is',
  { prepare: () => TARGETS.forEach((t, i) => sys.symlink(Buffer.from(t, 'latin1'), `l${String(i)}`)) },
  () => {
    for (const [i, target] of TARGETS.entries()) {
      assert.equal(sys.readlink(`l${String(i)}`), target);
      assert.equal(sys.lstat(`l${String(i)}`).size, target.length);
    }
  },
);

add('keeps targets of up to 4095 bytes', { prepare: () => sys.symlink('a/'.repeat(2047), 'l') }, () => {
  assert.equal(sys.readlink('l'), 'a/'.repeat(2047));
  for (const length of [1, 59, 60, 1000, 4000, 4095]) {
    const target = 'x'.repeat(length);
    sys.symlink(target, `l${String(length)}`);
    assert.equal(sys.readlink(`l${String(length)}`, 5000), target);
  }
  expectErrno('ENAMETOOLONG', () => sys.symlink('x'.repeat(4096), 'too-long'));
  expectErrno('ENOENT', () => sys.symlink('', 'empty'));
});

add('readlink cuts to the size of the buffer', { prepare: () => sys.symlink('target', 'l') }, () => {
  assert.equal(sys.readlink('l', 3), 'tar');
  assert.equal(sys.readlink('l', 6), 'target');
  expectErrno('EINVAL', () => sys.readlink('l', 0));
});

for (const type of TYPES.filter((type) => type !== 'symlink')) {
  add(`readlink of a ${type} is EINVAL`, { root: true, prepare: () => make(type, 'x') }, () => {
    expectErrno('EINVAL', () => sys.readlink('x'));
  });
}

add(
  'a walk goes through links to folders',
  {
    prepare: () => {
      folder('d');
      folder('d/e');
      file('d/e/x');
      sys.symlink('d', 'l');
      sys.symlink('../d/e', 'd/up');
      sys.symlink('l/up/x', 'f');
    },
  },
  () => {
    assert.equal(content.readFile('l/up/x'), 'content\n');
    content.overwrite('f', 'CONTENT');
    assert.equal(content.readFile('d/e/x'), 'CONTENT\n');
    sys.mkdir('l/new');
    assert.deepEqual(sys.names('d'), ['e', 'new', 'up']);
    assert.equal(sys.stat('l/up/..').ino, sys.stat('d').ino);
  },
);

add(
  'the last link is followed where a slash stands behind',
  { prepare: () => (folder('d'), sys.symlink('d', 'l')) },
  () => {
    assert.equal(sys.lstat('l').type, sys.S.LNK);
    assert.equal(sys.lstat('l/').type, sys.S.DIR);
    expectErrno('ENOTDIR', () => sys.unlink('l/'));
    expectErrno('ENOTDIR', () => sys.rmdir('l/'));
    expectErrno('ENOTDIR', () => sys.rmdir('l'));
  },
);

add(
  '40 links in a row are too many, 39 are not',
  {
    prepare: () => {
      file('x');
      sys.symlink('x', 'l1');
      for (let i = 2; i <= 41; i++) sys.symlink(`l${String(i - 1)}`, `l${String(i)}`);
    },
  },
  () => {
    assert.equal(sys.stat('l40').size, 8);
    expectErrno('ELOOP', () => sys.stat('l41'));
    expectErrno('ELOOP', () => sys.open('l41', sys.O.RDONLY));
  },
);

add(
  'links in a ring are ELOOP',
  {
    prepare: () => {
      sys.symlink('self', 'self');
      sys.symlink('b', 'a');
      sys.symlink('a', 'b');
    },
  },
  () => {
    for (const name of ['self', 'a', 'b', 'a/x']) {
      expectErrno('ELOOP', () => sys.stat(name));
      expectErrno('ELOOP', () => sys.open(name, sys.O.RDONLY));
      expectErrno('ELOOP', () => sys.chmod(name, 0o644));
      expectErrno('ELOOP', () => content.truncate(name, 0));
    }
    assert.equal(sys.readlink('a'), 'b');
    sys.unlink('a');
    expectErrno('ENOENT', () => sys.stat('b'));
  },
);

add(
  'unlink, rename, link and lchown act on the link',
  { root: true, prepare: () => (file('x'), sys.symlink('x', 'l')) },
  () => {
    sys.rename('l', 'm');
    assert.equal(sys.readlink('m'), 'x');
    sys.link('m', 'n');
    assert.deepEqual(
      [sys.lstat('n').type, sys.lstat('n').nlink, sys.lstat('n').ino],
      [sys.S.LNK, 2, sys.lstat('m').ino],
    );
    sys.lchown('m', 5, 5);
    assert.equal(sys.lstat('n').uid, 5);
    sys.unlink('m');
    assert.equal(sys.lstat('n').nlink, 1);
    assert.deepEqual([sys.stat('x').uid, sys.stat('x').nlink], [0, 1]);
  },
);

add(
  'may be read whoever owns it',
  { root: true, prepare: () => (sys.symlink('x', 'l'), sys.lchown('l', OWNER.uid, OWNER.gid)) },
  () => {
    asUser(OTHER, () => assert.equal(sys.readlink('l'), 'x'));
  },
);

add('link with AT_SYMLINK_FOLLOW links the target', { prepare: () => (file('x'), sys.symlink('x', 'l')) }, () => {
  sys.link('l', 'y', 0x400);
  assert.deepEqual([sys.lstat('y').ino, sys.stat('x').nlink], [sys.lstat('x').ino, 2]);
});
