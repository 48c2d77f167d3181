import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno } from '../../harness/expect.js';
import { Family, Skip } from '../../harness/family.js';
import { TYPES, file, folder, make } from '../../harness/fixtures.js';
import { OTHER, OWNER, asUser } from '../../harness/users.js';

export const link = new Family('link');
const { add } = link;

for (const type of TYPES) {
  if (type === 'folder') continue;
  add(`gives a ${type} one more name`, { root: true, prepare: () => make(type, 'x', OWNER) }, () => {
    const before = sys.lstat('x');
    sys.link('x', 'y');
    for (const name of ['x', 'y']) {
      const s = sys.lstat(name);
      assert.equal(s.nlink, 2);
      for (const key of ['ino', 'type', 'perm', 'uid', 'gid', 'size', 'rdev', 'mtime'] as const) {
        assert.equal(s[key], before[key], `${key} of ${name}`);
      }
    }
    sys.unlink('x');
    assert.deepEqual([sys.lstat('y').nlink, sys.lstat('y').ino], [1, before.ino]);
    expectErrno('ENOENT', () => sys.lstat('x'));
  });
  for (const there of TYPES) {
    add(
      `of a ${type} over a ${there} is EEXIST`,
      { root: true, prepare: () => (make(type, 'x'), make(there, 'y')) },
      () => {
        expectErrno('EEXIST', () => sys.link('x', 'y'));
        assert.equal(sys.lstat('x').nlink, 1);
      },
    );
  }
}

add('of a folder is EPERM', { root: true, prepare: () => folder('d') }, () => {
  expectErrno('EPERM', () => sys.link('d', 'e'));
  expectErrno('EPERM', () => sys.link('.', 'e'));
  expectErrno('EEXIST', () => sys.link('d', 'd'));
});

add('of a name that is not there is ENOENT', { prepare: () => file('x') }, () => {
  expectErrno('ENOENT', () => sys.link('no', 'y'));
  expectErrno('ENOENT', () => sys.link('x', 'no/y'));
  expectErrno('ENOTDIR', () => sys.link('x/y', 'z'));
  expectErrno('ENOTDIR', () => sys.link('x', 'x/y'));
  expectErrno('EEXIST', () => sys.link('x', 'x'));
  expectErrno(['ENOTDIR', 'ENOENT'], () => sys.link('x', 'y/'));
});

const three = (): void => {
  file('x');
  folder('d');
  sys.link('x', 'd/y');
  sys.link('x', 'z');
};

add('is one file with its content under all names', { prepare: three }, () => {
  const inos = ['x', 'd/y', 'z'].map((name) => sys.stat(name).ino);
  assert.deepEqual(new Set(inos).size, 1);
  assert.equal(sys.stat('z').nlink, 3);
  content.overwrite('d/y', 'CON');
  for (const name of ['x', 'd/y', 'z']) assert.equal(content.readFile(name), 'CONtent\n', name);
  content.truncate('z', 3);
  for (const name of ['x', 'd/y', 'z']) assert.equal(content.readFile(name), 'CON', name);
});

add('is written through one descriptor and read through another name', { prepare: three }, () => {
  sys.withFd('x', sys.O.RDWR, (a) =>
    sys.withFd('z', sys.O.RDONLY, (b) => {
      content.write(a, 'NEW');
      assert.equal(content.read(b, 3), 'NEW');
      sys.unlink('x');
      content.write(a, 'TAI');
      assert.equal(content.read(b, 3), 'TAI');
      assert.equal(sys.fstat(b).nlink, 2);
    }),
  );
  assert.equal(content.readFile('d/y'), 'NEWTAIt\n');
});

add('counts as names come and go', { prepare: three }, () => {
  sys.unlink('z');
  assert.deepEqual([sys.stat('x').nlink, sys.stat('d/y').nlink], [2, 2]);
  sys.link('d/y', 'd/w');
  sys.link('x', 'v');
  assert.deepEqual([sys.stat('x').nlink, sys.stat('v').nlink, sys.stat('d/w').nlink], [4, 4, 4]);
  file('other');
  sys.rename('other', 'v');
  assert.deepEqual([sys.stat('x').nlink, sys.stat('v').nlink], [3, 1]);
  sys.unlink('d/w');
  sys.unlink('d/y');
  assert.equal(sys.stat('x').nlink, 1);
});

add('counts through descriptors of changed files', { prepare: three }, () => {
  sys.chmod('x', 0o600);
  assert.equal(sys.stat('z').perm, 0o600);
  sys.withFd('d/y', sys.O.RDONLY, (fd) => {
    for (const [name, left] of [
      ['x', 2],
      ['z', 1],
      ['d/y', 0],
    ] as const) {
      sys.unlink(name);
      assert.equal(sys.fstat(fd).nlink, left);
    }
    assert.equal(content.read(fd, 10), 'content\n');
  });
});

add('of a file that was removed and made again starts at one', { prepare: three }, () => {
  sys.unlink('x');
  file('x', { content: 'other' });
  assert.deepEqual([sys.stat('x').nlink, sys.stat('z').nlink], [1, 2]);
  assert.notEqual(sys.stat('x').ino, sys.stat('z').ino);
  assert.equal(content.readFile('z'), 'content\n');
});

add('of one name onto another by rename changes nothing', { prepare: three }, () => {
  sys.rename('x', 'z');
  assert.deepEqual(sys.names(), ['d', 'x', 'z']);
  assert.equal(sys.stat('x').nlink, 3);
});

add(
  'needs folders one may write to, and search',
  {
    root: true,
    prepare: () => {
      file('x', { owner: OTHER });
      folder('read', { owner: OWNER });
      folder('closed', { owner: OWNER, mode: 0o700 });
      file('closed/y', { owner: OTHER });
      folder('open', { mode: 0o777 });
    },
  },
  () => {
    asUser(OTHER, () => {
      expectErrno('EACCES', () => sys.link('x', 'read/x'));
      expectErrno('EACCES', () => sys.link('x', 'closed/x'));
      expectErrno('EACCES', () => sys.link('closed/y', 'open/y'));
      sys.link('x', 'open/x');
    });
    assert.equal(sys.stat('x').nlink, 2);
  },
);

add(
  'of a foreign file is EPERM where hard links are protected',
  {
    root: true,
    prepare: () => {
      file('read', { owner: OWNER, mode: 0o644 });
      file('both', { owner: OWNER, mode: 0o666 });
      file('setuid', { owner: OWNER, mode: 0o4777 });
    },
  },
  () => {
    if (readFileSync('/proc/sys/fs/protected_hardlinks', 'utf8').trim() !== '1')
      throw new Skip('fs.protected_hardlinks is off');
    asUser(OTHER, () => {
      expectErrno('EPERM', () => sys.link('read', 'a'));
      expectErrno('EPERM', () => sys.link('setuid', 'b'));
      sys.link('both', 'c');
    });
    asUser(OWNER, () => sys.link('setuid', 'd'));
  },
);

add('makes hundreds of names', { prepare: () => file('x') }, () => {
  for (let i = 0; i < 300; i++) sys.link('x', `n${String(i)}`);
  assert.equal(sys.stat('x').nlink, 301);
  for (let i = 0; i < 300; i++) sys.unlink(`n${String(i)}`);
  assert.equal(sys.stat('x').nlink, 1);
});
