import { strict as assert } from 'node:assert';
import { ACCESS_ACL, DEFAULT_ACL, encodeAcl, getAcl, setAcl } from '../../harness/acl.js';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno, expectMode, outcome } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { MEMBER, OTHER, OWNER, asUser, withUmask, type User } from '../../harness/users.js';
import * as x from '../../harness/xattrs.js';
import { MAKERS } from '../names/makers.js';

export const acl = new Family('ACL');
const { add } = acl;
const { O } = sys;

/** In no group that a file here has. */
const STRANGER: User = { uid: 4009, gid: 4009, groups: [] };
/** In group 5000 alone. */
const IN_5000: User = { uid: 4010, gid: 4010, groups: [5000] };

/** What a user may: letters of rw. */
function may(user: User, path: string): string {
  return asUser(user, () =>
    [
      ['r', O.RDONLY],
      ['w', O.WRONLY],
    ]
      .filter(([, flags]) => {
        const got = outcome(() => sys.withFd(path, flags as number, () => undefined));
        assert.ok(got === undefined || got === 'EACCES', got);
        return got === undefined;
      })
      .map(([letter]) => letter)
      .join(''),
  );
}

const FULL = 'user::rw- user:4003:rw- group::r-- group:5000:-w- mask::rw- other::---';
const withAcl = (text: string) => (): void => {
  file('x', { owner: OWNER, mode: 0o640 });
  setAcl('x', text);
};

add('comes back, and shows in the mode and the list', { root: true, prepare: withAcl(FULL) }, () => {
  assert.equal(getAcl('x'), FULL);
  // The group bits of the mode are the mask's.
  expectMode(sys.stat('x').perm, 0o660);
  assert.ok(x.listxattr('x').includes(ACCESS_ACL));
  assert.equal(x.xattrSize('x', ACCESS_ACL), 4 + 6 * 8);
});

add('gives each user what its entry says', { root: true, prepare: withAcl(FULL) }, () => {
  assert.equal(may(OWNER, 'x'), 'rw');
  assert.equal(may(OTHER, 'x'), 'rw');
  assert.equal(may(MEMBER, 'x'), 'rw', 'a member of two groups: reads by one, writes by the other');
  assert.equal(may(IN_5000, 'x'), 'w');
  assert.equal(may(STRANGER, 'x'), '');
});

add('a member of two groups needs one entry that grants all', { root: true, prepare: withAcl(FULL) }, () => {
  asUser(MEMBER, () => expectErrno('EACCES', () => sys.open('x', O.RDWR)));
  asUser(OTHER, () => sys.withFd('x', O.RDWR, () => undefined));
});

add(
  'the mask limits all but the owner and others',
  {
    root: true,
    prepare: withAcl('user::rw- user:4003:rw- group::rw- group:5000:rw- mask::r-- other::-w-'),
  },
  () => {
    assert.equal(may(OWNER, 'x'), 'rw');
    assert.equal(may(OTHER, 'x'), 'r');
    assert.equal(may(MEMBER, 'x'), 'r');
    assert.equal(may(IN_5000, 'x'), 'r');
    assert.equal(may(STRANGER, 'x'), 'w');
    expectMode(sys.stat('x').perm, 0o642);
  },
);

add(
  'who has an entry is not one of the others',
  {
    root: true,
    prepare: withAcl('user::rw- user:4003:--- group::--- group:5000:--- mask::rwx other::rw-'),
  },
  () => {
    assert.equal(may(OTHER, 'x'), '');
    assert.equal(may(MEMBER, 'x'), '');
    assert.equal(may(IN_5000, 'x'), '');
    assert.equal(may(STRANGER, 'x'), 'rw');
  },
);

add('holds after changes of the file', { root: true, prepare: withAcl(FULL) }, () => {
  content.overwrite('x', 'new');
  sys.utimens('x', 1n, 1n);
  x.setxattr('x', 'user.a', '1');
  sys.link('x', 'y');
  sys.rename('x', 'z');
  for (const name of ['y', 'z']) {
    assert.equal(getAcl(name), FULL);
    assert.equal(may(OTHER, name), 'rw');
    assert.equal(may(STRANGER, name), '');
  }
});

add('chmod sets the owner, the mask and others', { root: true, prepare: withAcl(FULL) }, () => {
  // Not 0: Linux does not look at an ACL whose mask grants nothing, and takes the bits of others.
  sys.chmod('x', 0o614);
  assert.equal(getAcl('x'), 'user::rw- user:4003:rw- group::r-- group:5000:-w- mask::--x other::r--');
  assert.equal(may(OTHER, 'x'), '');
  assert.equal(may(MEMBER, 'x'), '');
  assert.equal(may(STRANGER, 'x'), 'r');
  sys.chmod('x', 0o460);
  assert.equal(getAcl('x'), 'user::r-- user:4003:rw- group::r-- group:5000:-w- mask::rw- other::---');
  assert.equal(may(OTHER, 'x'), 'rw');
});

add('chown keeps it, and moves the owner', { root: true, prepare: withAcl(FULL) }, () => {
  sys.chown('x', STRANGER.uid, STRANGER.gid);
  assert.equal(getAcl('x'), FULL);
  assert.equal(may(STRANGER, 'x'), 'rw');
  assert.equal(may(OWNER, 'x'), '');
});

add(
  'of three entries is a mode and nothing else',
  { root: true, prepare: () => file('x', { owner: OWNER, mode: 0o600 }) },
  () => {
    setAcl('x', 'user::rwx group::r-x other::--x');
    expectMode(sys.stat('x').perm, 0o751);
    assert.ok(!x.hasxattr('x', ACCESS_ACL));
    expectErrno('ENODATA', () => getAcl('x'));
  },
);

add('may be replaced and removed', { root: true, prepare: withAcl(FULL) }, () => {
  setAcl('x', 'user::r-- user:4002:r-- group::--- mask::r-- other::---');
  assert.equal(may(OTHER, 'x'), '');
  assert.equal(may(MEMBER, 'x'), 'r');
  x.removexattr('x', ACCESS_ACL);
  assert.ok(!x.hasxattr('x', ACCESS_ACL));
  assert.equal(may(MEMBER, 'x'), 'r', 'the mask is now the group');
  assert.equal(may(OTHER, 'x'), '');
});

add('is set by the owner alone', { root: true, prepare: withAcl(FULL) }, () => {
  asUser(OTHER, () => {
    expectErrno('EPERM', () => x.setxattr('x', ACCESS_ACL, encodeAcl(FULL)));
    expectErrno('EPERM', () => x.removexattr('x', ACCESS_ACL));
  });
  asUser(OWNER, () => setAcl('x', 'user::rw- user:4009:r-- group::--- mask::r-- other::---'));
  assert.equal(may(STRANGER, 'x'), 'r');
});

add('that makes no sense is EINVAL', { root: true, prepare: withAcl(FULL) }, () => {
  for (const text of [
    'user::rw- user:4003:rw- group::r-- other::---',
    'user::rw- group::r--',
    'group::r-- other::---',
  ]) {
    expectErrno('EINVAL', () => x.setxattr('x', ACCESS_ACL, encodeAcl(text)), text);
  }
  expectErrno(['EINVAL', 'EOPNOTSUPP'], () => x.setxattr('x', ACCESS_ACL, '\x01\0\0\0'));
  expectErrno('EINVAL', () => x.setxattr('x', ACCESS_ACL, 'ab'));
  assert.equal(getAcl('x'), FULL);
});

add('of a link is EOPNOTSUPP', { root: true, prepare: () => (file('x'), sys.symlink('x', 'l')) }, () => {
  expectErrno(['EOPNOTSUPP', 'EPERM'], () => x.lsetxattr('l', ACCESS_ACL, encodeAcl(FULL)));
});

add(
  'drops setgid when one sets it who is not in the group',
  {
    root: true,
    prepare: () => {
      file('x');
      sys.chown('x', OWNER.uid, 5000);
      sys.chmod('x', 0o2775);
    },
  },
  () => {
    asUser(OWNER, () => setAcl('x', 'user::rwx user:4003:rwx group::r-x mask::rwx other::r-x'));
    expectMode(sys.stat('x').perm, 0o775);
  },
);

add(
  'of folders guards walks and new names',
  {
    root: true,
    prepare: () => {
      folder('d', { owner: OWNER, mode: 0o700 });
      file('d/x', { mode: 0o666 });
      setAcl('d', 'user::rwx user:4003:--x user:4009:rwx group::--- mask::rwx other::---');
    },
  },
  () => {
    asUser(OTHER, () => {
      assert.equal(content.readFile('d/x'), 'content\n');
      expectErrno('EACCES', () => sys.readdir('d'));
      expectErrno('EACCES', () => sys.unlink('d/x'));
    });
    asUser(STRANGER, () => {
      file('d/new');
      sys.unlink('d/x');
      assert.deepEqual(sys.names('d'), ['new']);
    });
    asUser(MEMBER, () => expectErrno('EACCES', () => sys.stat('d/new')));
  },
);

const DEFAULT = 'user::rwx user:4003:rwx group::r-x mask::rwx other::---';
const withDefault = (): void => {
  folder('d', { mode: 0o777 });
  setAcl('d', DEFAULT, DEFAULT_ACL);
};

add('a default one is for folders alone', { root: true, prepare: withDefault }, () => {
  assert.equal(getAcl('d', DEFAULT_ACL), DEFAULT);
  expectMode(sys.stat('d').perm, 0o777);
  assert.ok(!x.hasxattr('d', ACCESS_ACL));
  file('x');
  expectErrno('EACCES', () => x.setxattr('x', DEFAULT_ACL, encodeAcl(DEFAULT)));
  expectErrno('ENODATA', () => getAcl('x', DEFAULT_ACL));
  x.removexattr('d', DEFAULT_ACL);
  assert.ok(!x.hasxattr('d', DEFAULT_ACL));
  sys.mkdir('d/e');
  assert.ok(!x.hasxattr('d/e', DEFAULT_ACL));
});

for (const { what, make, type } of MAKERS) {
  if (type === sys.S.LNK) {
    add('a default one does not go to links', { root: true, prepare: withDefault }, () => {
      make('d/x', 0);
      assert.ok(!x.hasxattr('d/x', ACCESS_ACL));
    });
    continue;
  }
  add(
    `a default one goes to what ${what} makes, limited by the mode, without the umask`,
    { root: true, prepare: withDefault },
    () => {
      withUmask(0o077, () => make('d/x', 0o640));
      assert.equal(getAcl('d/x'), 'user::rw- user:4003:rwx group::r-x mask::r-- other::---');
      expectMode(sys.lstat('d/x').perm, 0o640);
      if (type === sys.S.DIR) assert.equal(getAcl('d/x', DEFAULT_ACL), DEFAULT);
      else assert.ok(!x.hasxattr('d/x', DEFAULT_ACL));
    },
  );
}

add('a default one goes down a tree', { root: true, prepare: withDefault }, () => {
  sys.mkdir('d/a', 0o777);
  sys.mkdir('d/a/b', 0o777);
  sys.withFd('d/a/b/x', O.WRONLY | O.CREAT, () => undefined, 0o666);
  assert.equal(getAcl('d/a/b', DEFAULT_ACL), DEFAULT);
  assert.equal(getAcl('d/a/b/x'), 'user::rw- user:4003:rwx group::r-x mask::rw- other::---');
  sys.chmod('d/a', 0o755);
  sys.chmod('d/a/b', 0o755);
  assert.equal(may(OTHER, 'd/a/b/x'), 'rw');
  assert.equal(may(STRANGER, 'd/a/b/x'), '');
});

add(
  'a default one of three entries sets modes',
  {
    root: true,
    prepare: () => {
      folder('d', { mode: 0o777 });
      setAcl('d', 'user::rwx group::r-x other::--x', DEFAULT_ACL);
    },
  },
  () => {
    withUmask(0o077, () => {
      sys.mkdir('d/e', 0o777);
      sys.withFd('d/x', O.WRONLY | O.CREAT, () => undefined, 0o666);
    });
    expectMode(sys.stat('d/e').perm, 0o751);
    expectMode(sys.stat('d/x').perm, 0o640);
    assert.ok(!x.hasxattr('d/x', ACCESS_ACL));
  },
);

add(
  'a default one does not go to what is moved or linked in',
  { root: true, prepare: () => (withDefault(), file('x'), file('y')) },
  () => {
    sys.rename('x', 'd/x');
    sys.link('y', 'd/y');
    for (const name of ['d/x', 'd/y']) assert.ok(!x.hasxattr(name, ACCESS_ACL));
  },
);
