import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno, outcome } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { TYPES, file, folder, make } from '../../harness/fixtures.js';
import { MEMBER, OTHER, OWNER, asUser } from '../../harness/users.js';

export const remove = new Family('unlink and rmdir');
const { add } = remove;

for (const type of TYPES) {
  add(`the right one removes a ${type}, the other does not`, { root: true, prepare: () => make(type, 'x') }, () => {
    if (type === 'folder') {
      expectErrno('EISDIR', () => sys.unlink('x'));
      sys.rmdir('x');
    } else {
      expectErrno('ENOTDIR', () => sys.rmdir('x'));
      sys.unlink('x');
    }
    expectErrno('ENOENT', () => sys.lstat('x'));
    expectErrno('ENOENT', () => sys.unlink('x'));
    expectErrno('ENOENT', () => sys.rmdir('x'));
    assert.deepEqual(sys.names(), []);
  });
  add(`a folder with a ${type} is not empty`, { root: true, prepare: () => (folder('d'), make(type, 'd/x')) }, () => {
    expectErrno('ENOTEMPTY', () => sys.rmdir('d'));
    if (type === 'folder') sys.rmdir('d/x');
    else sys.unlink('d/x');
    sys.rmdir('d');
    assert.deepEqual(sys.names(), []);
  });
}

add('a folder that was emptied and filled again is not empty', { prepare: () => (folder('d'), file('d/x')) }, () => {
  sys.unlink('d/x');
  file('d/x');
  expectErrno('ENOTEMPTY', () => sys.rmdir('d'));
  sys.rename('d/x', 'x');
  sys.rmdir('d');
  assert.deepEqual(sys.names(), ['x']);
});

add(
  'a folder that is made again is empty',
  { prepare: () => (folder('d'), file('d/x'), folder('d/e'), file('d/e/y')) },
  () => {
    sys.unlink('d/x');
    sys.unlink('d/e/y');
    sys.rmdir('d/e');
    sys.rmdir('d');
    sys.mkdir('d');
    assert.deepEqual(sys.names('d'), []);
    expectErrno('ENOENT', () => sys.lstat('d/x'));
    expectErrno('ENOENT', () => sys.lstat('d/e'));
    sys.mkdir('d/e');
    assert.deepEqual(sys.names('d/e'), []);
  },
);

add('of dots and slashes', { prepare: () => (folder('d'), folder('d/e'), file('x')) }, () => {
  expectErrno('EINVAL', () => sys.rmdir('d/.'));
  expectErrno('ENOTEMPTY', () => sys.rmdir('d/..'));
  expectErrno('ENOTEMPTY', () => sys.rmdir('d/e/..'));
  expectErrno('EISDIR', () => sys.unlink('d/.'));
  expectErrno('EISDIR', () => sys.unlink('d/'));
  expectErrno('ENOTDIR', () => sys.unlink('x/'));
  expectErrno('ENOTDIR', () => sys.rmdir('x/'));
  sys.rmdir('d/e/');
  sys.rmdir('d//');
});

add('of the mountpoint or the root is EBUSY', { root: true }, () => {
  expectErrno('EBUSY', () => sys.rmdir('/proc'));
  expectErrno('EBUSY', () => sys.rmdir('/'));
});

add(
  'need a folder one may write to',
  {
    root: true,
    prepare: () => {
      folder('d', { owner: OWNER, mode: 0o755 });
      file('d/x', { owner: OTHER, mode: 0o777 });
      folder('d/e', { owner: OTHER, mode: 0o777 });
      folder('w', { owner: OWNER, mode: 0o722 });
      file('w/x', { owner: OTHER });
    },
  },
  () => {
    for (const user of [MEMBER, OTHER]) {
      asUser(user, () => {
        expectErrno('EACCES', () => sys.unlink('d/x'));
        expectErrno('EACCES', () => sys.rmdir('d/e'));
        expectErrno('EACCES', () => sys.unlink('w/x'));
      });
    }
    asUser(OWNER, () => {
      sys.unlink('d/x');
      sys.rmdir('d/e');
    });
    assert.deepEqual(sys.names('d'), []);
  },
);

add(
  'do not ask for rights to the file',
  {
    root: true,
    prepare: () => {
      file('x', { owner: OWNER, mode: 0 });
      folder('d', { owner: OWNER, mode: 0 });
    },
  },
  () => {
    asUser(OTHER, () => {
      sys.unlink('x');
      sys.rmdir('d');
    });
  },
);

const sticky = (): void => {
  folder('t', { owner: OWNER, mode: 0o1777 });
  file('t/theirs', { owner: MEMBER, mode: 0o777 });
  folder('t/folder', { owner: MEMBER, mode: 0o777 });
  sys.symlink('x', 't/link');
  sys.lchown('t/link', MEMBER.uid, MEMBER.gid);
};

add('in a sticky folder are not for others', { root: true, prepare: sticky }, () => {
  asUser(OTHER, () => {
    expectErrno('EPERM', () => sys.unlink('t/theirs'));
    expectErrno('EPERM', () => sys.unlink('t/link'));
    expectErrno('EPERM', () => sys.rmdir('t/folder'));
    file('t/mine');
    sys.unlink('t/mine');
  });
  assert.deepEqual(sys.names('t'), ['folder', 'link', 'theirs']);
});

for (const [who, user] of [
  ["the file's owner", MEMBER],
  ["the folder's owner", OWNER],
] as const) {
  add(`in a sticky folder are for ${who}`, { root: true, prepare: sticky }, () => {
    asUser(user, () => {
      sys.unlink('t/theirs');
      sys.unlink('t/link');
      sys.rmdir('t/folder');
    });
    assert.deepEqual(sys.names('t'), []);
  });
}

add('in a sticky folder are for root', { root: true, prepare: sticky }, () => {
  sys.unlink('t/theirs');
  sys.rmdir('t/folder');
});

add('leave an open file usable to its last descriptor', { prepare: () => file('x') }, () => {
  sys.withFd('x', sys.O.RDWR, (fd) => {
    sys.unlink('x');
    const s = sys.fstat(fd);
    assert.deepEqual([s.nlink, s.size], [0, 8]);
    assert.equal(content.read(fd, 20), 'content\n');
    content.write(fd, 'more');
    assert.equal(content.pread(fd, 20, 0), 'content\nmore');
    content.ftruncate(fd, 3);
    assert.equal(content.pread(fd, 20, 0), 'con');
    sys.fchmod(fd, 0o4711);
    sys.futimens(fd, 1n, 2n);
    assert.deepEqual([sys.fstat(fd).perm, sys.fstat(fd).mtime], [0o4711, 2n]);
    content.fsync(fd);
    file('x', { content: 'another' });
    assert.equal(content.pread(fd, 20, 0), 'con');
    assert.notEqual(sys.fstat(fd).ino, sys.stat('x').ino);
  });
  assert.equal(content.readFile('x'), 'another');
});

add('leave a file open for reading readable', { prepare: () => file('x', { content: 'x'.repeat(100_000) }) }, () => {
  sys.withFd('x', sys.O.RDONLY, (fd) => {
    sys.unlink('x');
    assert.equal(content.read(fd, 200_000).length, 100_000);
    assert.equal(sys.fstat(fd).nlink, 0);
  });
});

add('leave an open folder empty, with no way to fill it', { prepare: () => folder('d') }, () => {
  sys.withFd('d', sys.O.RDONLY, (fd) => {
    sys.rmdir('d');
    expectErrno('ENOENT', () => sys.openat(fd, 'x', sys.O.CREAT | sys.O.WRONLY, 0o644));
    const listed = outcome(() => assert.ok(sys.getdents(fd).every(({ name }) => name === '.' || name === '..')));
    assert.ok(listed === undefined || listed === 'ENOENT', listed);
    assert.equal(sys.fstat(fd).type, sys.S.DIR);
    sys.mkdir('d');
    expectErrno('ENOENT', () => sys.openat(fd, 'x', sys.O.CREAT | sys.O.WRONLY, 0o644));
  });
});

add(
  'rename over an open file leaves it usable',
  { prepare: () => (file('x'), file('y', { content: 'other' })) },
  () => {
    sys.withFd('x', sys.O.RDWR, (fd) => {
      sys.rename('y', 'x');
      assert.equal(sys.fstat(fd).nlink, 0);
      content.write(fd, 'CON');
      assert.equal(content.pread(fd, 20, 0), 'CONtent\n');
    });
    assert.equal(content.readFile('x'), 'other');
  },
);
