import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno, expectMode } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { TYPES, file, folder, make } from '../../harness/fixtures.js';
import { OTHER, OWNER, asUser, withUmask } from '../../harness/users.js';

export const openFlags = new Family('open');
const { add } = openFlags;
const { O } = sys;

add('O_CREAT makes an empty regular file of the caller', { root: true }, () => {
  asUser(OWNER, () => sys.withFd('x', O.WRONLY | O.CREAT, () => undefined, 0o751));
  const s = sys.stat('x');
  assert.deepEqual([s.type, s.uid, s.gid, s.size, s.nlink], [sys.S.REG, OWNER.uid, OWNER.gid, 0, 1]);
  expectMode(s.perm, 0o751);
});

add('O_CREAT takes the umask away', {}, () => {
  withUmask(0o027, () => sys.withFd('x', O.WRONLY | O.CREAT, () => undefined, 0o777));
  expectMode(sys.stat('x').perm, 0o750);
});

add('O_CREAT makes setuid, setgid and sticky files', { root: true }, () => {
  sys.withFd('x', O.WRONLY | O.CREAT, () => undefined, 0o7755);
  expectMode(sys.stat('x').perm, 0o7755);
});

add('O_CREAT leaves what is there', { prepare: () => file('x', { mode: 0o640 }) }, () => {
  sys.withFd('x', O.RDWR | O.CREAT, (fd) => assert.equal(content.read(fd, 99), 'content\n'), 0o777);
  expectMode(sys.stat('x').perm, 0o640);
});

for (const type of TYPES) {
  add(`O_CREAT|O_EXCL over a ${type} is EEXIST`, { root: true, prepare: () => make(type, 'x') }, () => {
    expectErrno('EEXIST', () => sys.open('x', O.WRONLY | O.CREAT | O.EXCL));
    expectErrno('EEXIST', () => sys.open('x', O.RDONLY | O.CREAT | O.EXCL));
  });
}

add('O_CREAT|O_EXCL does not follow a dangling link', { prepare: () => sys.symlink('target', 'l') }, () => {
  expectErrno('EEXIST', () => sys.open('l', O.WRONLY | O.CREAT | O.EXCL));
  expectErrno('ENOENT', () => sys.lstat('target'));
});

add('O_CREAT makes the target of a dangling link', { prepare: () => sys.symlink('target', 'l') }, () => {
  sys.withFd('l', O.WRONLY | O.CREAT, (fd) => content.write(fd, 'x'));
  assert.equal(content.readFile('target'), 'x');
  assert.equal(sys.readlink('l'), 'target');
});

add(
  'makes again what was removed, and nothing of the old comes back',
  {
    root: true,
    prepare: () => file('x', { mode: 0o4711, owner: OWNER }),
  },
  () => {
    sys.unlink('x');
    expectErrno('ENOENT', () => sys.open('x', O.RDONLY));
    sys.withFd('x', O.WRONLY | O.CREAT | O.EXCL, () => undefined, 0o600);
    const s = sys.stat('x');
    assert.deepEqual([s.size, s.uid, s.perm], [0, 0, 0o600]);
    assert.deepEqual(sys.names(), ['x']);
  },
);

add('of a folder for writing is EISDIR', { prepare: () => folder('d') }, () => {
  for (const flags of [
    O.WRONLY,
    O.RDWR,
    O.RDONLY | O.TRUNC,
    O.WRONLY | O.TRUNC,
    O.WRONLY | O.CREAT,
    O.RDONLY | O.CREAT,
  ]) {
    expectErrno('EISDIR', () => sys.open('d', flags), flags.toString(8));
  }
  sys.withFd('d', O.RDONLY, (fd) => expectErrno('EISDIR', () => content.read(fd, 10)));
});

for (const type of TYPES.filter((type) => type !== 'folder')) {
  add(
    `O_DIRECTORY of a ${type} is ENOTDIR`,
    { root: true, prepare: () => (make(type, 'x'), file('no-such-target')) },
    () => {
      expectErrno('ENOTDIR', () => sys.open('x', O.RDONLY | O.DIRECTORY));
      expectErrno(type === 'symlink' ? ['ENOTDIR', 'ELOOP'] : 'ENOTDIR', () =>
        sys.open('x', O.RDONLY | O.DIRECTORY | O.NOFOLLOW),
      );
    },
  );
}

add('O_DIRECTORY opens folders, also through a link', { prepare: () => (folder('d'), sys.symlink('d', 'l')) }, () => {
  for (const name of ['d', 'l', '.', '..', 'l/']) sys.withFd(name, O.RDONLY | O.DIRECTORY, () => undefined);
  expectErrno('EINVAL', () => sys.open('new', O.RDWR | O.DIRECTORY | O.CREAT));
  expectErrno('ENOENT', () => sys.lstat('new'));
});

const linked = (): void => {
  file('x');
  sys.symlink('x', 'l');
  folder('d');
  file('d/y');
  sys.symlink('d', 'dl');
};

add('O_NOFOLLOW of a link is ELOOP', { prepare: linked }, () => {
  for (const flags of [O.RDONLY, O.WRONLY, O.RDWR, O.WRONLY | O.CREAT, O.WRONLY | O.TRUNC]) {
    expectErrno('ELOOP', () => sys.open('l', flags | O.NOFOLLOW));
  }
  expectErrno('ELOOP', () => sys.open('dl', O.RDONLY | O.NOFOLLOW));
  assert.equal(sys.stat('x').size, 8);
  sys.withFd('x', O.RDWR | O.NOFOLLOW, () => undefined);
  sys.withFd('dl/y', O.RDWR | O.NOFOLLOW, () => undefined);
});

add(
  'O_PATH opens anything, also a link itself, and gives no content',
  { root: true, prepare: () => TYPES.forEach((t) => make(t, t)) },
  () => {
    for (const type of TYPES) {
      sys.withFd(type, O.PATH | O.NOFOLLOW, (fd) => {
        assert.equal(sys.fstat(fd).ino, sys.lstat(type).ino);
        expectErrno('EBADF', () => content.read(fd, 1));
        expectErrno('EBADF', () => content.write(fd, 'x'));
        expectErrno('EBADF', () => content.ftruncate(fd, 0));
      });
    }
  },
);

add('descriptors allow what they were opened for', { prepare: linked }, () => {
  sys.withFd('x', O.RDONLY, (fd) => {
    expectErrno('EBADF', () => content.write(fd, 'x'));
    expectErrno('EINVAL', () => content.ftruncate(fd, 0));
    expectErrno('EBADF', () => content.fallocate(fd, 0, 0, 10));
  });
  sys.withFd('x', O.WRONLY, (fd) => expectErrno('EBADF', () => content.read(fd, 1)));
  sys.withFd('x', O.RDWR, (fd) => {
    assert.equal(content.read(fd, 3), 'con');
    content.write(fd, 'X');
    assert.equal(content.pread(fd, 8, 0), 'conXent\n');
  });
});

for (const [name, flags] of [
  ['O_WRONLY', O.WRONLY],
  ['O_RDWR', O.RDWR],
  ['O_RDONLY', O.RDONLY],
] as [string, number][]) {
  add(
    `${name}|O_TRUNC empties and keeps the rest`,
    { root: true, prepare: () => file('x', { mode: 0o640, owner: OWNER }) },
    () => {
      const before = sys.stat('x');
      sys.withFd('x', flags | O.TRUNC, (fd) => assert.equal(sys.fstat(fd).size, 0));
      const after = sys.stat('x');
      assert.equal(after.size, 0);
      for (const key of ['ino', 'perm', 'uid', 'gid', 'nlink'] as const) assert.equal(after[key], before[key], key);
    },
  );
}

add('O_TRUNC is seen by a descriptor that is open', { prepare: () => file('x') }, () => {
  sys.withFd('x', O.RDONLY, (fd) => {
    assert.equal(content.read(fd, 3), 'con');
    sys.withFd('x', O.WRONLY | O.TRUNC, (out) => content.write(out, 'new'));
    assert.equal(content.pread(fd, 10, 0), 'new');
    assert.equal(sys.fstat(fd).size, 3);
  });
});

add(
  'O_TRUNC by one who may not write leaves the file',
  { root: true, prepare: () => file('x', { mode: 0o444, owner: OWNER }) },
  () => {
    asUser(OTHER, () => {
      for (const flags of [O.RDONLY, O.WRONLY, O.RDWR]) expectErrno('EACCES', () => sys.open('x', flags | O.TRUNC));
    });
    asUser(OWNER, () => expectErrno('EACCES', () => sys.open('x', O.RDONLY | O.TRUNC)));
    assert.equal(content.readFile('x'), 'content\n');
  },
);

add('O_SYNC and O_DSYNC write like any other', { prepare: () => file('x') }, () => {
  for (const flag of [O.SYNC, O.DSYNC]) content.overwrite('x', 'CON', O.WRONLY | flag);
  assert.equal(content.readFile('x'), 'CONtent\n');
});

add('with a slash behind a file is ENOTDIR', { prepare: linked }, () => {
  expectErrno('ENOTDIR', () => sys.open('x/', O.RDONLY));
  expectErrno('ENOTDIR', () => sys.open('l/', O.RDONLY));
  expectErrno('ENOTDIR', () => sys.open('x/.', O.RDONLY));
  expectErrno('EISDIR', () => sys.open('new/', O.WRONLY | O.CREAT));
  sys.withFd('d/', O.RDONLY, () => undefined);
  sys.withFd('d//./../d/y', O.RDONLY, () => undefined);
});

add('knows which flags contradict', { prepare: linked }, () => {
  expectErrno('EINVAL', () => sys.open('.', O.TMPFILE | O.RDONLY));
  expectErrno('EISDIR', () => sys.open('.', O.WRONLY));
  expectErrno('EBADF', () => sys.close(9999));
});

add('writes of many descriptors go to one file', { prepare: linked }, () => {
  sys.withFd('x', O.RDWR, (a) =>
    sys.withFd('l', O.RDWR, (b) => {
      content.pwrite(a, 'A', 0);
      content.pwrite(b, 'B', 1);
      assert.equal(content.pread(a, 3, 0), 'ABn');
      assert.equal(content.pread(b, 3, 0), 'ABn');
      assert.equal(sys.fstat(a).ino, sys.fstat(b).ino);
    }),
  );
});

add('a descriptor for reading sees what is written later', { prepare: linked }, () => {
  sys.withFd('x', O.RDONLY, (fd) => {
    assert.equal(content.read(fd, 3), 'con');
    content.overwrite('x', 'CONTENT');
    assert.equal(content.read(fd, 9), 'TENT\n');
    assert.equal(sys.fstat(fd).ino, sys.stat('x').ino);
  });
});
