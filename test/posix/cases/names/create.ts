import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import { expectErrno, expectMode } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { TYPES, file, folder, make } from '../../harness/fixtures.js';
import { MEMBER, OTHER, OWNER, asUser, withUmask } from '../../harness/users.js';
import { MAKERS } from './makers.js';

/** What all calls have in common that make something new. */
export const create = new Family('new names');
const { add } = create;

for (const maker of MAKERS) {
  const { what, hasMode, type } = maker;

  add(
    `${what} makes its type, one link, and an entry of the folder`,
    { root: true, prepare: () => folder('d') },
    () => {
      maker.make('d/x', 0o644);
      const s = sys.lstat('d/x');
      assert.equal(s.type, type);
      if (type !== sys.S.DIR) assert.equal(s.nlink, 1);
      if (type === sys.S.CHR || type === sys.S.BLK) assert.equal(s.rdev, '1:2');
      const entry = sys.readdir('d').find(({ name }) => name === 'x');
      assert.ok(entry?.type === 0 || entry?.type === type >> 12, 'type in the folder');
      assert.deepEqual(sys.names('d'), ['x']);
    },
  );

  for (const there of TYPES) {
    add(`${what} over a ${there} is EEXIST`, { root: true, prepare: () => make(there, 'x') }, () => {
      const before = sys.lstat('x');
      expectErrno('EEXIST', () => maker.make('x', 0o644));
      assert.deepEqual(sys.lstat('x'), before);
    });
  }

  add(
    `${what} where something was removed`,
    { root: true, prepare: () => (folder('d'), file('d/x'), file('f')) },
    () => {
      sys.unlink('d/x');
      sys.rmdir('d');
      sys.unlink('f');
      for (const name of ['d', 'f']) {
        maker.make(name, 0o600);
        assert.equal(sys.lstat(name).type, type);
        if (hasMode) expectMode(sys.lstat(name).perm, 0o600);
      }
      assert.deepEqual(sys.names(), ['d', 'f']);
      if (type === sys.S.DIR) assert.deepEqual(sys.names('d'), []);
    },
  );

  add(
    `${what} needs a folder one may write to and search`,
    {
      root: true,
      prepare: () => {
        folder('read', { owner: OWNER, mode: 0o755 });
        folder('write', { owner: OWNER, mode: 0o766 });
        folder('both', { owner: OWNER, mode: 0o773 });
      },
    },
    () => {
      if (maker.root) {
        asUser(OTHER, () => expectErrno('EPERM', () => maker.make('both/x', 0o644)));
        return;
      }
      for (const user of [MEMBER, OTHER]) {
        asUser(user, () => expectErrno('EACCES', () => maker.make('read/x', 0o644)));
      }
      asUser(OTHER, () => expectErrno('EACCES', () => maker.make('write/x', 0o644)));
      asUser(OTHER, () => maker.make('both/x', 0o644));
      asUser(OWNER, () => maker.make('read/x', 0o644));
      assert.deepEqual([sys.lstat('both/x').uid, sys.lstat('both/x').gid], [OTHER.uid, OTHER.gid]);
      assert.deepEqual([sys.lstat('read/x').uid, sys.lstat('read/x').gid], [OWNER.uid, OWNER.gid]);
    },
  );

  add(
    `${what} in a setgid folder takes the folder's group`,
    {
      root: true,
      prepare: () => {
        folder('d');
        sys.chown('d', OWNER.uid, 5000);
        sys.chmod('d', 0o2777);
      },
    },
    () => {
      const makeAs = (name: string): void => maker.make(`d/${name}`, 0o750);
      if (maker.root) makeAs('x');
      else asUser(OTHER, () => makeAs('x'));
      const s = sys.lstat('d/x');
      assert.equal(s.gid, 5000);
      // A folder takes the bit as well.
      if (hasMode) expectMode(s.perm, type === sys.S.DIR ? 0o2750 : 0o750);
    },
  );

  if (hasMode) {
    add(`${what} takes the umask away`, { root: true, prepare: () => folder('d') }, () => {
      for (const [mask, wanted] of [
        [0, 0o777],
        [0o022, 0o755],
        [0o077, 0o700],
        [0o777, 0],
        [0o124, 0o653],
      ]) {
        withUmask(mask, () => maker.make(`d/${mask.toString(8)}`, 0o777));
        expectMode(sys.lstat(`d/${mask.toString(8)}`).perm, wanted);
      }
    });
  }

  add(`${what} in a removed folder is ENOENT`, { root: true, prepare: () => folder('d') }, () => {
    sys.withFd('.', sys.O.RDONLY, (back) => {
      sys.chdir('d');
      try {
        sys.rmdir('../d');
        expectErrno('ENOENT', () => maker.make('x', 0o644));
      } finally {
        sys.fchdir(back);
      }
    });
  });
}

add('mkdir lets sticky through, and setgid only where it is inherited', { prepare: () => folder('d') }, () => {
  sys.mkdir('d/s', 0o1777);
  expectMode(sys.stat('d/s').perm, 0o1777);
  sys.mkdir('d/x', 0o7777);
  expectMode(sys.stat('d/x').perm & ~0o6000, 0o1777);
});

add('mkdir makes a folder that is empty, with itself and its parent', { prepare: () => folder('d') }, () => {
  sys.mkdir('d/x');
  const entries = sys.readdir('d/x');
  assert.deepEqual(entries.map(({ name }) => name).toSorted(), ['.', '..']);
  assert.equal(sys.stat('d/x/.').ino, sys.stat('d/x').ino);
  assert.equal(sys.stat('d/x/..').ino, sys.stat('d').ino);
});

add('mkdir takes a slash behind the name, also doubled', {}, () => {
  sys.mkdir('a/');
  sys.mkdir('a//b//');
  assert.deepEqual(sys.names('a'), ['b']);
  expectErrno('EEXIST', () => sys.mkdir('a/'));
  expectErrno('EEXIST', () => sys.mkdir('.'));
  expectErrno('EEXIST', () => sys.mkdir('/'));
});

add('mknod with a slash behind the name is ENOENT', { root: true }, () => {
  expectErrno(['ENOENT', 'ENOTDIR'], () => sys.mkfifo('p/'));
  expectErrno(['ENOENT', 'ENOTDIR'], () => sys.symlink('x', 'l/'));
  assert.deepEqual(sys.names(), []);
});

add('mknod of a folder is EPERM, of no type EINVAL', { root: true }, () => {
  expectErrno(['EPERM', 'EINVAL'], () => sys.mknod('d', sys.S.DIR | 0o755));
  expectErrno('EINVAL', () => sys.mknod('d', sys.S.LNK | 0o755));
  sys.mknod('plain', 0o600);
  assert.equal(sys.lstat('plain').type, sys.S.REG);
});

add('mknod keeps device numbers, small and large', { root: true }, () => {
  // Not 0:0 of a character device: that is a whiteout.
  for (const [device, wanted] of [
    [0x0107, '1:7'],
    [0xff00, '255:0'],
    [0xfff00, '4095:0'],
    [0x123004ff, `4:${String(0x123ff)}`],
  ] as const) {
    sys.mknod('x', sys.S.BLK | 0o600, device);
    assert.equal(sys.lstat('x').rdev, wanted);
    sys.unlink('x');
    sys.mknod('x', sys.S.CHR | 0o600, device);
    assert.equal(sys.lstat('x').rdev, wanted);
    sys.unlink('x');
  }
});
