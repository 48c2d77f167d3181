import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import { expectErrno, expectMode, outcome } from '../../harness/expect.js';
import { Family, Skip } from '../../harness/family.js';
import { TYPES, file, folder, make } from '../../harness/fixtures.js';
import { MEMBER, OTHER, OWNER, OWNER_IN_5000, asUser } from '../../harness/users.js';

export const chmod = new Family('chmod');
const { add } = chmod;

for (const type of TYPES.filter((type) => type !== 'symlink')) {
  add(
    `gives a ${type} all twelve bits and changes nothing else`,
    { root: true, prepare: () => make(type, 'x') },
    () => {
      const before = sys.stat('x');
      for (const mode of [0o111, 0o777, 0, 0o7777, 0o4644, 0o2755, 0o1000, 0o644]) {
        sys.chmod('x', mode);
        const after = sys.stat('x');
        expectMode(after.perm, mode);
        for (const key of ['type', 'uid', 'gid', 'ino', 'size', 'rdev', 'mtime'] as const) {
          assert.equal(after[key], before[key], key);
        }
      }
    },
  );
}

const linked = (): void => {
  file('x');
  sys.symlink('x', 'link');
};

add('follows a symbolic link', { prepare: linked }, () => {
  sys.chmod('link', 0o600);
  expectMode(sys.lstat('x').perm, 0o600);
  expectMode(sys.lstat('link').perm, 0o777);
});

add('of a link itself is EOPNOTSUPP', { prepare: linked }, () => {
  if (outcome(() => sys.lchmod('x', 0o644)) === 'ENOSYS') throw new Skip('needs fchmodat2 (Linux 6.6)');
  expectErrno('EOPNOTSUPP', () => sys.lchmod('link', 0o600));
  expectMode(sys.lstat('link').perm, 0o777);
  sys.lchmod('x', 0o640);
  expectMode(sys.lstat('x').perm, 0o640);
});

add('through a descriptor: O_RDONLY is enough, O_PATH is EBADF', { prepare: linked }, () => {
  sys.withFd('x', sys.O.RDONLY, (fd) => {
    sys.fchmod(fd, 0o711);
    expectMode(sys.fstat(fd).perm, 0o711);
  });
  expectMode(sys.stat('x').perm, 0o711);
  sys.withFd('x', sys.O.PATH, (fd) => expectErrno('EBADF', () => sys.fchmod(fd, 0o700)));
  expectErrno('EBADF', () => sys.fchmod(9999, 0o700));
});

add('shows at every hard link', { prepare: () => (file('x'), sys.link('x', 'y')) }, () => {
  sys.chmod('x', 0o4711);
  expectMode(sys.stat('y').perm, 0o4711);
  assert.equal(sys.stat('x').ino, sys.stat('y').ino);
});

const owned = (): void => {
  file('x', { owner: OWNER, mode: 0o777 });
  folder('d', { owner: OWNER, mode: 0o777 });
};

add('is for the owner and root alone', { root: true, prepare: owned }, () => {
  for (const name of ['x', 'd']) {
    for (const user of [MEMBER, OTHER]) {
      asUser(user, () => expectErrno('EPERM', () => sys.chmod(name, 0o700), name));
      asUser(user, () => sys.withFd(name, sys.O.RDONLY, (fd) => expectErrno('EPERM', () => sys.fchmod(fd, 0o700))));
    }
    expectMode(sys.stat(name).perm, 0o777);
    asUser(OWNER, () => sys.chmod(name, 0));
    asUser(OWNER, () => sys.chmod(name, 0o751));
    expectMode(sys.stat(name).perm, 0o751);
  }
});

add('lets the owner set the sticky bit of a file', { root: true, prepare: owned }, () => {
  asUser(OWNER, () => sys.chmod('x', 0o1644));
  expectMode(sys.stat('x').perm, 0o1644);
});

const foreignGroup = (): void => {
  for (const name of ['x', 'd']) {
    if (name === 'x') file(name);
    else folder(name);
    sys.chown(name, OWNER.uid, 5000);
  }
};

for (const name of ['x', 'd']) {
  const what = name === 'x' ? 'file' : 'folder';
  add(`drops setgid of a ${what} whose group the owner is not in`, { root: true, prepare: foreignGroup }, () => {
    asUser(OWNER, () => sys.chmod(name, 0o2755));
    expectMode(sys.stat(name).perm, 0o755);
    asUser(OWNER, () => sys.withFd(name, sys.O.RDONLY, (fd) => sys.fchmod(fd, 0o6755)));
    expectMode(sys.stat(name).perm, 0o4755);
  });
  add(`keeps setgid of a ${what} whose group the owner is in`, { root: true, prepare: foreignGroup }, () => {
    asUser(OWNER_IN_5000, () => sys.chmod(name, 0o2755));
    expectMode(sys.stat(name).perm, 0o2755);
  });
  add(`keeps setgid of a ${what} for root`, { root: true, prepare: foreignGroup }, () => {
    sys.chmod(name, 0o6755);
    expectMode(sys.stat(name).perm, 0o6755);
  });
}

add('takes effect for the next open', { root: true, prepare: owned }, () => {
  const open = (): void => asUser(OTHER, () => sys.withFd('x', sys.O.RDONLY, () => undefined));
  open();
  sys.chmod('x', 0o770);
  expectErrno('EACCES', open);
  sys.chmod('x', 0o774);
  open();
});

add(
  'takes effect for the next walk through a folder',
  { root: true, prepare: () => (folder('d'), file('d/x')) },
  () => {
    const look = (): unknown => asUser(OTHER, () => sys.stat('d/x'));
    look();
    sys.chmod('d', 0o754);
    expectErrno('EACCES', look);
    sys.chmod('d', 0o751);
    look();
  },
);

add('does not take the rights of a descriptor that is open', { root: true, prepare: owned }, () => {
  const fd = asUser(OTHER, () => sys.open('x', sys.O.RDWR));
  sys.chmod('x', 0);
  asUser(OTHER, () => assert.equal(sys.fstat(fd).size, 8));
  sys.close(fd);
});
