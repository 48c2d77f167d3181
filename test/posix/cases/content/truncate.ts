import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno, expectMode, outcome } from '../../harness/expect.js';
import { Family, Skip } from '../../harness/family.js';
import { TYPES, file, folder, make } from '../../harness/fixtures.js';
import { OTHER, OWNER, MEMBER, asUser } from '../../harness/users.js';

export const truncate = new Family('truncate');
const { add } = truncate;
const { O } = sys;

const WAYS: [string, (name: string, size: number) => void][] = [
  ['truncate', content.truncate],
  ['ftruncate', (name, size) => sys.withFd(name, O.RDWR, (fd) => content.ftruncate(fd, size))],
];

for (const [way, cut] of WAYS) {
  for (const [what, size] of [
    ['nothing', 0],
    ['less', 3],
    ['the same', 8],
    ['more', 5000],
    ['much more', 3_000_000],
  ] as const) {
    add(`${way} to ${what}`, { prepare: () => file('x') }, () => {
      const { ino } = sys.stat('x');
      cut('x', size);
      assert.deepEqual([sys.stat('x').size, sys.stat('x').ino], [size, ino]);
      assert.equal(content.readFile('x'), 'content\n'.slice(0, size).padEnd(size, '\0'));
    });
  }
  add(
    `${way} to less and to more again shows zeros`,
    { prepare: () => file('x', { content: 'x'.repeat(20_000) }) },
    () => {
      cut('x', 5001);
      cut('x', 12_000);
      assert.equal(content.readFile('x'), 'x'.repeat(5001).padEnd(12_000, '\0'));
    },
  );
  add(`${way} to a size below nothing is EINVAL`, { prepare: () => file('x') }, () => {
    expectErrno('EINVAL', () => cut('x', -1));
    assert.equal(sys.stat('x').size, 8);
  });
  add(
    `${way} by one who may write clears setuid and setgid`,
    { root: true, prepare: () => file('x', { owner: OWNER, mode: 0o6777 }) },
    () => {
      asUser(OTHER, () => cut('x', 3));
      expectMode(sys.stat('x').perm, 0o777);
    },
  );
  add(
    `${way} by root leaves setuid and setgid`,
    { root: true, prepare: () => file('x', { owner: OWNER, mode: 0o6777 }) },
    () => {
      cut('x', 3);
      expectMode(sys.stat('x').perm, 0o6777);
    },
  );
}

for (const type of TYPES.filter((type) => type !== 'file')) {
  add(`of a ${type}`, { root: true, prepare: () => (make(type, 'x'), file('no-such-target')) }, () => {
    if (type === 'symlink') {
      content.truncate('x', 2);
      assert.equal(content.readFile('no-such-target'), 'co');
      assert.equal(sys.readlink('x'), 'no-such-target');
    } else expectErrno(type === 'folder' ? 'EISDIR' : 'EINVAL', () => content.truncate('x', 0));
  });
}

add('to more than a file can be is EFBIG', { prepare: () => file('x') }, () => {
  const got = outcome(() => content.truncate('x', 2 ** 62));
  if (got === undefined) throw new Skip('files may have any size here');
  assert.ok(got === 'EFBIG' || got === 'EINVAL', got);
  assert.equal(sys.stat('x').size, 8);
});

add('of a descriptor for reading is EINVAL', { prepare: () => file('x') }, () => {
  sys.withFd('x', O.RDONLY, (fd) => expectErrno(['EINVAL', 'EBADF'], () => content.ftruncate(fd, 0)));
  expectErrno('EBADF', () => content.ftruncate(9999, 0));
});

add('leaves the position of descriptors', { prepare: () => file('x') }, () => {
  sys.withFd('x', O.RDWR, (fd) => {
    content.read(fd, 6);
    content.ftruncate(fd, 2);
    assert.equal(content.lseek(fd, 0, content.SEEK.CUR), 6);
    assert.equal(content.read(fd, 5), '');
    content.write(fd, 'end');
    assert.equal(content.readFile('x'), 'co\0\0\0\0end');
  });
});

add('shows in a mapped file', { prepare: () => file('x', { content: 'x'.repeat(8192) }) }, () => {
  sys.withFd('x', O.RDWR, (fd) => {
    const map = new content.Mapping(fd, 8192, content.PROT.READ, content.MAP.SHARED);
    assert.equal(map.read(100, 3), 'xxx');
    content.ftruncate(fd, 50);
    assert.equal(map.read(48, 4), 'xx\0\0');
    map.unmap();
  });
});

const setuid = (): void => {
  file('x', { owner: OWNER, mode: 0o6777 });
  file('group', { owner: OWNER, mode: 0o2766 });
  folder('d');
};

const WRITES: [string, (name: string) => void][] = [
  ['write', (name) => content.overwrite(name, 'new')],
  ['pwrite', (name) => sys.withFd(name, O.WRONLY, (fd) => void content.pwrite(fd, 'new', 20))],
  ['write that appends', (name) => content.overwrite(name, 'new', O.WRONLY | O.APPEND)],
  ['open with O_TRUNC', (name) => sys.withFd(name, O.WRONLY | O.TRUNC, () => undefined)],
  ['fallocate', (name) => sys.withFd(name, O.RDWR, (fd) => content.fallocate(fd, 0, 0, 5000))],
];

for (const [what, write] of WRITES) {
  add(`${what} by one who may write clears setuid and setgid`, { root: true, prepare: setuid }, () => {
    asUser(OTHER, () => write('x'));
    expectMode(sys.stat('x').perm, 0o777);
  });
  add(`${what} by the owner clears them as well`, { root: true, prepare: setuid }, () => {
    asUser(OWNER, () => write('x'));
    expectMode(sys.stat('x').perm, 0o777);
  });
  add(`${what} by root leaves them`, { root: true, prepare: setuid }, () => {
    write('x');
    expectMode(sys.stat('x').perm, 0o6777);
  });
  add(`${what} by a member leaves setgid that marks no program`, { root: true, prepare: setuid }, () => {
    asUser(MEMBER, () => write('group'));
    expectMode(sys.stat('group').perm, 0o2766);
  });
}

add('reading and opening clear nothing', { root: true, prepare: setuid }, () => {
  asUser(OTHER, () => {
    content.readFile('x');
    sys.withFd('x', O.RDWR, () => undefined);
    content.overwrite('x', '');
  });
  expectMode(sys.stat('x').perm, 0o6777);
});
