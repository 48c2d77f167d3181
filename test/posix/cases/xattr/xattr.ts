import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { TYPES, file, folder, make, type Type } from '../../harness/fixtures.js';
import { OTHER, OWNER, asUser } from '../../harness/users.js';
import * as x from '../../harness/xattrs.js';

export const xattr = new Family('xattr');
const { add } = xattr;
const { CREATE, REPLACE } = x.XATTR;

/** The user's attributes alone: a security module may add its own. */
function userNames(path: string): string[] {
  return x.llistxattr(path).filter((name) => name.startsWith('user.'));
}

const prepare = (): void => {
  file('x', { owner: OWNER });
  folder('d', { owner: OWNER });
  for (const name of ['x', 'd']) {
    x.setxattr(name, 'user.there', 'value');
    x.setxattr(name, 'user.empty', '');
  }
  sys.symlink('x', 'l');
};

for (const name of ['x', 'd']) {
  const what = name === 'x' ? 'a file' : 'a folder';
  add(`of ${what} come back as they were set`, { root: true, prepare }, () => {
    assert.equal(x.getxattr(name, 'user.there'), 'value');
    assert.equal(x.getxattr(name, 'user.empty'), '');
    x.setxattr(name, 'user.bytes', '\0\x01\xff\n\0');
    x.setxattr(name, 'user.there', 'another, longer value');
    assert.equal(x.getxattr(name, 'user.bytes'), '\0\x01\xff\n\0');
    assert.equal(x.getxattr(name, 'user.there'), 'another, longer value');
    assert.deepEqual(userNames(name), ['user.bytes', 'user.empty', 'user.there']);
    sys.withFd(name, sys.O.RDONLY, (fd) => {
      x.fsetxattr(fd, 'user.fd', 'by descriptor');
      assert.equal(x.fgetxattr(fd, 'user.fd'), 'by descriptor');
      assert.ok(x.flistxattr(fd).includes('user.fd'));
      x.fremovexattr(fd, 'user.fd');
    });
    assert.deepEqual(userNames(name), ['user.bytes', 'user.empty', 'user.there']);
  });
  add(`of ${what}: one that is not there is ENODATA`, { root: true, prepare }, () => {
    expectErrno('ENODATA', () => x.getxattr(name, 'user.none'));
    expectErrno('ENODATA', () => x.xattrSize(name, 'user.none'));
    expectErrno('ENODATA', () => x.removexattr(name, 'user.none'));
    expectErrno('ENODATA', () => x.setxattr(name, 'user.none', '1', REPLACE));
    expectErrno('ENODATA', () => x.getxattr(name, 'user.THERE'));
    assert.deepEqual(userNames(name), ['user.empty', 'user.there']);
  });
  add(`of ${what}: CREATE and REPLACE`, { root: true, prepare }, () => {
    expectErrno('EEXIST', () => x.setxattr(name, 'user.there', '1', CREATE));
    expectErrno('EEXIST', () => x.setxattr(name, 'user.empty', '1', CREATE));
    assert.equal(x.getxattr(name, 'user.there'), 'value');
    x.setxattr(name, 'user.new', '1', CREATE);
    x.setxattr(name, 'user.there', '2', REPLACE);
    assert.deepEqual([x.getxattr(name, 'user.new'), x.getxattr(name, 'user.there')], ['1', '2']);
    expectErrno('EINVAL', () => x.setxattr(name, 'user.new', '1', 8));
    // Both at once contradict: the one or the other is the answer.
    expectErrno(['EEXIST', 'EINVAL'], () => x.setxattr(name, 'user.there', '1', CREATE | REPLACE));
  });
  add(`of ${what}: remove`, { root: true, prepare }, () => {
    x.removexattr(name, 'user.there');
    expectErrno('ENODATA', () => x.getxattr(name, 'user.there'));
    expectErrno('ENODATA', () => x.removexattr(name, 'user.there'));
    assert.deepEqual(userNames(name), ['user.empty']);
    x.setxattr(name, 'user.there', 'again', CREATE);
    assert.equal(x.getxattr(name, 'user.there'), 'again');
    x.removexattr(name, 'user.there');
    x.removexattr(name, 'user.empty');
    assert.deepEqual(userNames(name), []);
  });
  add(`of ${what}: sizes and short buffers`, { root: true, prepare }, () => {
    assert.equal(x.xattrSize(name, 'user.there'), 5);
    assert.equal(x.xattrSize(name, 'user.empty'), 0);
    expectErrno('ERANGE', () => x.getxattr(name, 'user.there', 4));
    assert.equal(x.getxattr(name, 'user.there', 5), 'value');
    assert.ok(x.xattrListSize(name) >= 'user.there.user.empty.'.length);
    expectErrno('ERANGE', () => x.listxattr(name, 5));
    assert.equal(x.listxattr(name, x.xattrListSize(name)).length, x.listxattr(name).length);
  });
}

add('follow links, the l calls do not', { root: true, prepare }, () => {
  x.setxattr('l', 'user.via', '1');
  assert.equal(x.getxattr('x', 'user.via'), '1');
  assert.equal(x.getxattr('l', 'user.there'), 'value');
  expectErrno('EPERM', () => x.lsetxattr('l', 'user.a', '1'));
  expectErrno(['ENODATA', 'EPERM'], () => x.lgetxattr('l', 'user.there'));
  expectErrno('EPERM', () => x.lremovexattr('l', 'user.there'));
  assert.deepEqual(userNames('l'), []);
});

for (const type of TYPES.filter((type): type is Type => type !== 'file' && type !== 'folder')) {
  add(`of users are not for a ${type}: EPERM`, { root: true, prepare: () => make(type, 'x') }, () => {
    expectErrno('EPERM', () => x.lsetxattr('x', 'user.a', '1'));
    expectErrno(['ENODATA', 'EPERM'], () => x.lgetxattr('x', 'user.a'));
  });
  add(
    `of root are there for a ${type}`,
    { root: true, prepare: () => (make(type, 'x'), x.lsetxattr('x', 'trusted.a', '1')) },
    () => {
      assert.equal(x.lgetxattr('x', 'trusted.a'), '1');
      x.lsetxattr('x', 'trusted.b', '2');
      x.lremovexattr('x', 'trusted.a');
      assert.deepEqual([x.hasxattr('x', 'trusted.a'), x.lgetxattr('x', 'trusted.b')], [false, '2']);
    },
  );
}

add(
  'are read by those who may read, set by those who may write',
  {
    root: true,
    prepare: () => {
      for (const [name, mode] of [
        ['r', 0o644],
        ['w', 0o622],
        ['none', 0o600],
      ] as const) {
        file(name, { owner: OWNER, mode });
        x.setxattr(name, 'user.a', '1');
      }
    },
  },
  () => {
    asUser(OTHER, () => {
      assert.equal(x.getxattr('r', 'user.a'), '1');
      expectErrno('EACCES', () => x.setxattr('r', 'user.a', '2'));
      expectErrno('EACCES', () => x.removexattr('r', 'user.a'));
      expectErrno('EACCES', () => x.getxattr('w', 'user.a'));
      x.setxattr('w', 'user.a', '2');
      x.setxattr('w', 'user.b', '3');
      x.removexattr('w', 'user.b');
      expectErrno('EACCES', () => x.getxattr('none', 'user.a'));
      expectErrno('EACCES', () => x.setxattr('none', 'user.a', '2'));
      // Their names are no secret.
      assert.ok(x.listxattr('none').includes('user.a'));
    });
    assert.deepEqual(
      ['r', 'w', 'none'].map((name) => x.getxattr(name, 'user.a')),
      ['1', '2', '1'],
    );
  },
);

add(
  'of a sticky folder are set by its owner alone',
  { root: true, prepare: () => folder('t', { owner: OWNER, mode: 0o1777 }) },
  () => {
    asUser(OTHER, () => expectErrno('EPERM', () => x.setxattr('t', 'user.a', '1')));
    asUser(OWNER, () => x.setxattr('t', 'user.a', '1'));
  },
);

add(
  'trusted ones are for root, and others do not see them',
  {
    root: true,
    prepare: () => (
      file('x', { owner: OWNER, mode: 0o666 }),
      x.setxattr('x', 'trusted.a', '1'),
      x.setxattr('x', 'user.a', '1')
    ),
  },
  () => {
    assert.equal(x.getxattr('x', 'trusted.a'), '1');
    asUser(OWNER, () => {
      expectErrno(['ENODATA', 'EPERM'], () => x.getxattr('x', 'trusted.a'));
      expectErrno('EPERM', () => x.setxattr('x', 'trusted.a', '2'));
      expectErrno('EPERM', () => x.setxattr('x', 'trusted.b', '2'));
      expectErrno('EPERM', () => x.removexattr('x', 'trusted.a'));
      assert.ok(!x.listxattr('x').includes('trusted.a'));
    });
    x.setxattr('x', 'trusted.a', '2');
    assert.ok(x.listxattr('x').includes('trusted.a'));
    x.removexattr('x', 'trusted.a');
    assert.ok(!x.hasxattr('x', 'trusted.a'));
  },
);

add(
  'security ones are read by all and set by root',
  { root: true, prepare: () => (file('x', { owner: OWNER }), x.setxattr('x', 'security.test', '1')) },
  () => {
    asUser(OTHER, () => assert.equal(x.getxattr('x', 'security.test'), '1'));
    asUser(OWNER, () => expectErrno('EPERM', () => x.setxattr('x', 'security.test', '2')));
    x.setxattr('x', 'security.test', '3');
    assert.equal(x.getxattr('x', 'security.test'), '3');
  },
);

add('need a name of a known class', { prepare: () => file('x') }, () => {
  for (const name of ['other.a', 'a', 'users.a', 'system.unknown']) {
    expectErrno('EOPNOTSUPP', () => x.setxattr('x', name, '1'), name);
    expectErrno(['EOPNOTSUPP', 'ENODATA'], () => x.getxattr('x', name), name);
  }
  expectErrno(['EINVAL', 'EOPNOTSUPP'], () => x.setxattr('x', 'user.', '1'));
  expectErrno('ERANGE', () => x.setxattr('x', '', '1'));
});

add(
  'have names of up to 255 bytes',
  { prepare: () => (file('x'), x.setxattr('x', `user.${'n'.repeat(250)}`, '1')) },
  () => {
    const name = `user.${'m'.repeat(250)}`;
    x.setxattr('x', name, '1');
    assert.equal(x.getxattr('x', name), '1');
    assert.equal(x.getxattr('x', `user.${'n'.repeat(250)}`), '1');
    expectErrno('ERANGE', () => x.setxattr('x', `${name}m`, '1'));
    expectErrno('ERANGE', () => x.getxattr('x', `${name}m`));
  },
);

add(
  'have values of up to some KiB, and none above 64 KiB',
  { prepare: () => (file('x'), x.setxattr('x', 'user.big', 'v'.repeat(2000))) },
  () => {
    assert.equal(x.getxattr('x', 'user.big'), 'v'.repeat(2000));
    x.setxattr('x', 'user.big', 'w'.repeat(3000));
    assert.equal(x.getxattr('x', 'user.big'), 'w'.repeat(3000));
    expectErrno(['E2BIG', 'ENOSPC'], () => x.setxattr('x', 'user.huge', 'h'.repeat(65_537)));
    assert.deepEqual(userNames('x'), ['user.big']);
  },
);

add(
  'may be many',
  {
    prepare: () => {
      file('x');
      for (let i = 0; i < 20; i++) x.setxattr('x', `user.n${String(i)}`, String(i));
    },
  },
  () => {
    for (let i = 20; i < 50; i++) x.setxattr('x', `user.n${String(i)}`, String(i));
    assert.equal(userNames('x').length, 50);
    for (let i = 0; i < 50; i++) assert.equal(x.getxattr('x', `user.n${String(i)}`), String(i));
  },
);

add(
  'show at every hard link and stay through changes',
  { root: true, prepare: () => (prepare(), sys.link('x', 'y')) },
  () => {
    x.setxattr('y', 'user.new', 'n');
    content.overwrite('x', 'new content');
    sys.chmod('x', 0o600);
    sys.rename('x', 'z');
    content.truncate('z', 0);
    for (const name of ['y', 'z']) {
      assert.deepEqual(userNames(name), ['user.empty', 'user.new', 'user.there']);
      assert.equal(x.getxattr(name, 'user.there'), 'value');
    }
  },
);

add('do not come back with a new file of the same name', { root: true, prepare }, () => {
  sys.unlink('x');
  file('x');
  assert.deepEqual(userNames('x'), []);
  sys.rmdir('d');
  sys.mkdir('d');
  assert.deepEqual(userNames('d'), []);
});
