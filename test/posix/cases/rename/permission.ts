import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import { expectErrno } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';
import { MEMBER, OTHER, OWNER, asUser } from '../../harness/users.js';

export const renamePermission = new Family('rename, who may');
const { add } = renamePermission;
const EXCHANGE = 2;

add(
  'needs both folders writable',
  {
    root: true,
    prepare: () => {
      folder('read', { owner: OWNER, mode: 0o755 });
      file('read/x', { mode: 0o666 });
      folder('write', { owner: OWNER, mode: 0o777 });
      file('write/x', { mode: 0 });
      file('write/y', { mode: 0 });
    },
  },
  () => {
    for (const user of [MEMBER, OTHER]) {
      asUser(user, () => {
        expectErrno('EACCES', () => sys.rename('read/x', 'write/z'));
        expectErrno('EACCES', () => sys.rename('write/x', 'read/z'));
        expectErrno('EACCES', () => sys.rename('write/x', 'read/x'));
        expectErrno('EACCES', () => sys.rename('read/x', 'read/y'));
        expectErrno('EACCES', () => sys.rename('write/x', 'read/x', EXCHANGE));
        sys.rename('write/x', 'write/y', EXCHANGE);
      });
    }
    asUser(OTHER, () => sys.rename('write/x', 'write/y'));
    asUser(OWNER, () => sys.rename('read/x', 'write/x'));
    assert.deepEqual([sys.names('read'), sys.names('write')], [[], ['x', 'y']]);
  },
);

add(
  'needs both folders searchable',
  {
    root: true,
    prepare: () => {
      folder('closed', { owner: OWNER, mode: 0o766 });
      file('closed/x', { mode: 0o666 });
      folder('open', { mode: 0o777 });
      file('open/x');
    },
  },
  () => {
    asUser(OTHER, () => {
      expectErrno('EACCES', () => sys.rename('closed/x', 'open/y'));
      expectErrno('EACCES', () => sys.rename('open/x', 'closed/y'));
    });
  },
);

const folders = (): void => {
  folder('a', { mode: 0o777 });
  folder('b', { mode: 0o777 });
  folder('a/theirs', { owner: OWNER, mode: 0o755 });
  folder('a/mine', { owner: OTHER, mode: 0o755 });
  folder('b/theirs', { owner: OWNER, mode: 0o755 });
  folder('b/mine', { owner: OTHER, mode: 0o755 });
};

add(
  'of a folder to another parent writes its .., so that it must be writable',
  { root: true, prepare: folders },
  () => {
    asUser(OTHER, () => {
      expectErrno('EACCES', () => sys.rename('a/theirs', 'b/new'));
      sys.rename('a/mine', 'b/new');
      sys.rename('a/theirs', 'a/new');
    });
    assert.deepEqual([sys.names('a'), sys.names('b')], [['new'], ['mine', 'new', 'theirs']]);
  },
);

add('EXCHANGE of folders with different parents writes both', { root: true, prepare: folders }, () => {
  asUser(OTHER, () => {
    expectErrno('EACCES', () => sys.rename('a/theirs', 'b/mine', EXCHANGE));
    expectErrno('EACCES', () => sys.rename('a/mine', 'b/theirs', EXCHANGE));
    sys.rename('a/mine', 'b/mine', EXCHANGE);
    sys.rename('a/mine', 'a/theirs', EXCHANGE);
  });
});

function sticky(): void {
  folder('t', { owner: OWNER, mode: 0o1777 });
  file('t/theirs', { owner: MEMBER, mode: 0o777 });
  file('t/mine', { owner: OTHER });
  folder('t/folder', { owner: MEMBER, mode: 0o777 });
  folder('t/empty', { owner: OTHER, mode: 0o777 });
  folder('open', { mode: 0o777 });
  file('open/mine', { owner: OTHER });
}

add('out of a sticky folder is not for others', { root: true, prepare: sticky }, () => {
  asUser(OTHER, () => {
    expectErrno('EPERM', () => sys.rename('t/theirs', 'open/x'));
    expectErrno('EPERM', () => sys.rename('t/theirs', 't/x'));
    expectErrno('EPERM', () => sys.rename('t/folder', 't/x'));
    sys.rename('t/mine', 'open/x');
  });
});

add('over a foreign file in a sticky folder is not for others', { root: true, prepare: sticky }, () => {
  asUser(OTHER, () => {
    expectErrno('EPERM', () => sys.rename('t/mine', 't/theirs'));
    expectErrno('EPERM', () => sys.rename('open/mine', 't/theirs'));
    expectErrno('EPERM', () => sys.rename('t/empty', 't/folder'));
    expectErrno('EPERM', () => sys.rename('t/mine', 't/theirs', EXCHANGE));
    sys.rename('open/mine', 't/mine');
  });
  assert.equal(sys.stat('t/theirs').uid, MEMBER.uid);
});

for (const [who, user] of [
  ["the files' owner", MEMBER],
  ["the folder's owner", OWNER],
] as const) {
  add(`in a sticky folder is for ${who}`, { root: true, prepare: sticky }, () => {
    asUser(user, () => {
      sys.rename('t/theirs', 't/a');
      sys.rename('t/folder', 't/b');
      sys.rename('t/a', 'open/a');
    });
    assert.deepEqual(sys.names('t'), ['b', 'empty', 'mine']);
  });
}

add('in a sticky folder is for root', { root: true, prepare: sticky }, () => {
  sys.rename('t/theirs', 't/mine');
  sys.rename('t/folder', 't/empty');
  assert.deepEqual(sys.names('t'), ['empty', 'mine']);
});

add(
  'takes no new group from a setgid folder',
  {
    root: true,
    prepare: () => {
      file('x', { owner: OWNER });
      folder('x.d', { owner: OWNER });
      folder('d', { mode: 0o2777 });
      sys.chown('d', 0, 5000);
    },
  },
  () => {
    asUser(OWNER, () => {
      sys.rename('x', 'd/x');
      sys.rename('x.d', 'd/x.d');
    });
    assert.deepEqual(
      [sys.stat('d/x').gid, sys.stat('d/x.d').gid, sys.stat('d/x.d').perm],
      [OWNER.gid, OWNER.gid, 0o755],
    );
  },
);
