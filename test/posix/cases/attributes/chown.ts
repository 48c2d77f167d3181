import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import { expectErrno, expectMode } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { TYPES, file, folder, make } from '../../harness/fixtures.js';
import { MEMBER, OTHER, OWNER, OWNER_IN_5000, asUser } from '../../harness/users.js';

export const chown = new Family('chown');
const { add } = chown;

function expectOwner(path: string, uid: number, gid: number): void {
  const { uid: u, gid: g } = sys.lstat(path);
  assert.deepEqual([u, g], [uid, gid], `owner of ${path}`);
}

for (const type of TYPES) {
  add(`of a ${type}: both, one of both, none`, { root: true, prepare: () => make(type, 'x') }, () => {
    const before = sys.lstat('x');
    sys.lchown('x', 123, 456);
    expectOwner('x', 123, 456);
    sys.lchown('x', -1, 7);
    expectOwner('x', 123, 7);
    sys.lchown('x', 8, -1);
    expectOwner('x', 8, 7);
    sys.lchown('x', -1, -1);
    expectOwner('x', 8, 7);
    const after = sys.lstat('x');
    for (const key of ['type', 'perm', 'ino', 'size', 'mtime'] as const) {
      assert.equal(after[key], before[key], key);
    }
  });
}

add('takes ids of 32 bits', { root: true, prepare: () => file('x') }, () => {
  for (const id of [65535, 65536, 2 ** 31, 4_294_967_294]) {
    sys.chown('x', id, id);
    expectOwner('x', id, id);
  }
});

const linked = (): void => {
  file('x');
  sys.symlink('x', 'link');
  sys.link('x', 'y');
};

add('follows a symbolic link, lchown does not', { root: true, prepare: linked }, () => {
  sys.chown('link', 11, 12);
  expectOwner('x', 11, 12);
  expectOwner('link', 0, 0);
  sys.lchown('link', 13, 14);
  expectOwner('x', 11, 12);
  expectOwner('link', 13, 14);
});

add('through a descriptor', { root: true, prepare: linked }, () => {
  sys.withFd('x', sys.O.RDONLY, (fd) => sys.fchown(fd, 21, 22));
  expectOwner('x', 21, 22);
  sys.withFd('x', sys.O.PATH, (fd) => expectErrno('EBADF', () => sys.fchown(fd, 1, 1)));
});

add('shows at every hard link', { root: true, prepare: linked }, () => {
  sys.chown('y', 31, 32);
  expectOwner('x', 31, 32);
  assert.equal(sys.stat('x').nlink, 2);
});

const owned = (): void => {
  file('x', { owner: OWNER, mode: 0o777 });
  folder('d', { owner: OWNER, mode: 0o777 });
  sys.symlink('x', 'link');
  sys.lchown('link', OWNER.uid, OWNER.gid);
};
const OWNED = ['x', 'd', 'link'];

add('to another user is for root alone', { root: true, prepare: owned }, () => {
  for (const name of OWNED) {
    for (const user of [OWNER, MEMBER, OTHER]) {
      asUser(user, () => expectErrno('EPERM', () => sys.lchown(name, OTHER.uid, -1), name));
    }
    expectOwner(name, OWNER.uid, OWNER.gid);
  }
});

add('lets the owner choose among the own groups', { root: true, prepare: owned }, () => {
  for (const name of OWNED) {
    asUser(OWNER_IN_5000, () => sys.lchown(name, -1, 5000));
    expectOwner(name, OWNER.uid, 5000);
    asUser(OWNER, () => sys.lchown(name, OWNER.uid, OWNER.gid));
    expectOwner(name, OWNER.uid, OWNER.gid);
  }
});

add('does not let the owner give to a foreign group', { root: true, prepare: owned }, () => {
  for (const name of OWNED) {
    asUser(OWNER, () => expectErrno('EPERM', () => sys.lchown(name, -1, 5000), name));
    expectOwner(name, OWNER.uid, OWNER.gid);
  }
});

add('of the group is not for members of it', { root: true, prepare: owned }, () => {
  for (const name of OWNED) {
    asUser(MEMBER, () => expectErrno('EPERM', () => sys.lchown(name, -1, 5000), name));
  }
});

add('to the ids that are there already is for the owner', { root: true, prepare: owned }, () => {
  asUser(OWNER, () => sys.chown('x', OWNER.uid, OWNER.gid));
  asUser(OTHER, () => expectErrno('EPERM', () => sys.chown('x', OWNER.uid, OWNER.gid)));
});

const withBits = (mode: number) => (): void => {
  file('x', { owner: OWNER, mode });
  folder('d', { owner: OWNER, mode });
};

add('by the owner clears setuid and setgid of a program', { root: true, prepare: withBits(0o6755) }, () => {
  asUser(OWNER_IN_5000, () => sys.chown('x', -1, 5000));
  expectMode(sys.stat('x').perm, 0o755);
});

add('by the owner clears them also without a change of ids', { root: true, prepare: withBits(0o6755) }, () => {
  asUser(OWNER, () => sys.chown('x', OWNER.uid, OWNER.gid));
  expectMode(sys.stat('x').perm, 0o755);
});

add('by root clears setuid and setgid of a program', { root: true, prepare: withBits(0o6755) }, () => {
  sys.chown('x', 5, 5);
  expectMode(sys.stat('x').perm, 0o755);
});

add('with -1, -1 clears setuid and setgid of a program', { root: true, prepare: withBits(0o6755) }, () => {
  sys.chown('x', -1, -1);
  expectMode(sys.stat('x').perm, 0o755);
});

add('by root clears setuid of a file that cannot be run', { root: true, prepare: withBits(0o4644) }, () => {
  sys.chown('x', 5, 5);
  expectMode(sys.stat('x').perm, 0o644);
});

add(
  'by root keeps setgid without group execution, which marks no program',
  {
    root: true,
    prepare: withBits(0o2745),
  },
  () => {
    sys.chown('x', 5, 5);
    expectMode(sys.stat('x').perm, 0o2745);
  },
);

add('keeps setuid, setgid and sticky of a folder', { root: true, prepare: withBits(0o7755) }, () => {
  sys.chown('d', 5, 5);
  expectMode(sys.stat('d').perm, 0o7755);
  sys.chown('d', OWNER.uid, OWNER.gid);
  asUser(OWNER_IN_5000, () => sys.chown('d', -1, 5000));
  expectMode(sys.stat('d').perm, 0o7755);
});

add('that fails clears nothing', { root: true, prepare: withBits(0o6755) }, () => {
  asUser(OTHER, () => expectErrno('EPERM', () => sys.chown('x', -1, OTHER.gid)));
  expectMode(sys.stat('x').perm, 0o6755);
});

add('takes effect for the next open', { root: true, prepare: () => file('x', { owner: OWNER, mode: 0o600 }) }, () => {
  const open = (): void => asUser(OTHER, () => sys.withFd('x', sys.O.RDWR, () => undefined));
  expectErrno('EACCES', open);
  sys.chown('x', OTHER.uid, -1);
  open();
  asUser(OWNER, () => expectErrno('EACCES', () => sys.open('x', sys.O.RDONLY)));
});
