import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import { expectErrno, expectRecent, nextTick } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { TYPES, file, folder, make } from '../../harness/fixtures.js';
import { MEMBER, OTHER, OWNER, asUser } from '../../harness/users.js';

export const utimens = new Family('utimensat');
const { add } = utimens;
const NOFOLLOW = 0x100;

function expectTimes(path: string, atime: bigint, mtime: bigint): void {
  const s = sys.lstat(path);
  assert.deepEqual([s.atime, s.mtime], [atime, mtime]);
}

for (const type of TYPES) {
  add(`sets both times of a ${type} to the nanosecond`, { root: true, prepare: () => make(type, 'x') }, () => {
    sys.utimens('x', 1_234_567_890_123_456_789n, 987_654_321_987_654_321n, NOFOLLOW);
    expectTimes('x', 1_234_567_890_123_456_789n, 987_654_321_987_654_321n);
    expectRecent(sys.lstat('x').ctime, 'ctime');
  });
}

add('keeps times before 1970 and far ahead', { prepare: () => file('x') }, () => {
  const second = 1_000_000_000n;
  for (const time of [
    -1n,
    -500_000_000n,
    -86_400n * second,
    0n,
    (2n ** 31n + 5n) * second,
    (2n ** 32n + 5n) * second + 1n,
  ]) {
    sys.utimens('x', time, time);
    expectTimes('x', time, time);
  }
});

add('leaves a time out, and takes the present for one', { prepare: () => file('x') }, () => {
  sys.utimens('x', 5n, 6n);
  sys.utimens('x', 'omit', 7n);
  expectTimes('x', 5n, 7n);
  sys.utimens('x', 8n, 'omit');
  expectTimes('x', 8n, 7n);
  sys.utimens('x', 'now', 'omit');
  expectRecent(sys.stat('x').atime, 'atime');
  assert.equal(sys.stat('x').mtime, 7n);
  sys.utimens('x', 9n, 'now');
  expectRecent(sys.stat('x').mtime, 'mtime');
  assert.equal(sys.stat('x').atime, 9n);
  sys.utimens('x', 1n, 1n);
  sys.utimensNow('x');
  expectRecent(sys.stat('x').atime, 'atime');
  expectRecent(sys.stat('x').mtime, 'mtime');
});

add('with both left out changes nothing, not even ctime', { prepare: () => file('x') }, () => {
  const before = sys.stat('x');
  nextTick();
  sys.utimens('x', 'omit', 'omit');
  assert.deepEqual(sys.stat('x'), before);
});

add('refuses nanoseconds that are none', { prepare: () => file('x') }, () => {
  for (const words of [
    [0n, 1_000_000_000n, 0n, 0n],
    [0n, 0n, 0n, -1n],
    [0n, -1n, 0n, 0n],
  ]) {
    expectErrno('EINVAL', () => sys.utimensRaw('x', words));
  }
});

add('follows a link unless told', { prepare: () => (file('x'), sys.symlink('x', 'l'), sys.symlink('no', 'd')) }, () => {
  sys.utimens('l', 1n, 2n);
  expectTimes('x', 1n, 2n);
  sys.utimens('l', 3n, 4n, NOFOLLOW);
  expectTimes('x', 1n, 2n);
  expectTimes('l', 3n, 4n);
  expectErrno('ENOENT', () => sys.utimens('d', 1n, 2n));
  sys.utimens('d', 5n, 6n, NOFOLLOW);
  expectTimes('d', 5n, 6n);
});

add('through a descriptor, which need not be writable', { prepare: () => (file('x'), folder('d')) }, () => {
  for (const name of ['x', 'd']) {
    sys.withFd(name, sys.O.RDONLY, (fd) => sys.futimens(fd, 11n, 12n));
    expectTimes(name, 11n, 12n);
  }
});

add('shows at every hard link', { prepare: () => (file('x'), sys.link('x', 'y')) }, () => {
  sys.utimens('x', 21n, 22n);
  expectTimes('y', 21n, 22n);
});

const owned = (mode: number) => (): void => {
  file('x', { owner: OWNER, mode });
  folder('d', { owner: OWNER, mode });
};

add('to given times is for the owner, whatever the mode', { root: true, prepare: owned(0) }, () => {
  for (const name of ['x', 'd']) {
    asUser(OWNER, () => sys.utimens(name, 1n, 2n));
    expectTimes(name, 1n, 2n);
    asUser(OWNER, () => sys.utimensNow(name));
  }
});

add('to given times is not for those who may write', { root: true, prepare: owned(0o777) }, () => {
  for (const name of ['x', 'd']) {
    for (const user of [MEMBER, OTHER]) {
      asUser(user, () => {
        expectErrno('EPERM', () => sys.utimens(name, 1n, 2n));
        expectErrno('EPERM', () => sys.utimens(name, 'now', 'omit'));
        expectErrno('EPERM', () => sys.utimens(name, 'omit', 'now'));
        sys.utimens(name, 'omit', 'omit');
        sys.utimens(name, 'now', 'now');
        sys.utimensNow(name);
      });
      expectRecent(sys.stat(name).mtime, 'mtime');
    }
  }
});

add('to the present is EACCES for those who may not write', { root: true, prepare: owned(0o755) }, () => {
  for (const name of ['x', 'd']) {
    asUser(OTHER, () => {
      expectErrno('EACCES', () => sys.utimensNow(name));
      expectErrno('EACCES', () => sys.utimens(name, 'now', 'now'));
      expectErrno('EPERM', () => sys.utimens(name, 1n, 2n));
    });
  }
});
