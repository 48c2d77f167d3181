import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno } from '../../harness/expect.js';
import { Family, Skip } from '../../harness/family.js';
import { file } from '../../harness/fixtures.js';
import { OTHER, OWNER, asUser } from '../../harness/users.js';
import * as x from '../../harness/xattrs.js';

/** File capabilities (capabilities(7)): rights of a program that a change of it must take away. */
export const capability = new Family('file capability');
const { add } = capability;
const { O } = sys;
const NAME = 'security.capability';
/** struct vfs_cap_data, version 2: CAP_NET_RAW (13), permitted and effective. */
const NET_RAW = Buffer.from('0100000200200000000000000000000000000000', 'hex').toString('latin1');

const prepare = (): void => {
  file('x', { owner: OWNER, mode: 0o777 });
  x.setxattr('x', NAME, NET_RAW);
};

add('comes back', { root: true, prepare }, () => {
  assert.equal(x.getxattr('x', NAME), NET_RAW);
  assert.ok(x.listxattr('x').includes(NAME));
  x.removexattr('x', NAME);
  assert.ok(!x.hasxattr('x', NAME));
});

add('is set by root alone', { root: true, prepare }, () => {
  asUser(OWNER, () => {
    expectErrno('EPERM', () => x.setxattr('x', NAME, NET_RAW));
    expectErrno('EPERM', () => x.removexattr('x', NAME));
  });
  assert.ok(x.hasxattr('x', NAME));
});

add('that is none is EINVAL', { root: true, prepare }, () => {
  expectErrno(['EINVAL', 'EPERM'], () => x.setxattr('x', NAME, 'junk'));
  assert.equal(x.getxattr('x', NAME), NET_RAW);
});

const DROPS: [string, () => void][] = [
  ['write', () => content.overwrite('x', 'new')],
  ['a write that appends', () => content.overwrite('x', 'new', O.WRONLY | O.APPEND)],
  ['truncate', () => content.truncate('x', 3)],
  ['open with O_TRUNC', () => sys.withFd('x', O.WRONLY | O.TRUNC, () => undefined)],
  ['fallocate', () => sys.withFd('x', O.RDWR, (fd) => content.fallocate(fd, 0, 0, 5000))],
];

for (const [what, change] of DROPS) {
  add(`is dropped by ${what}`, { root: true, prepare }, () => {
    asUser(OTHER, change);
    assert.ok(!x.hasxattr('x', NAME));
  });
  add(`is dropped by ${what} of root`, { root: true, prepare }, () => {
    change();
    assert.ok(!x.hasxattr('x', NAME));
  });
}

add('is dropped by chown', { root: true, prepare }, () => {
  sys.chown('x', OTHER.uid, OTHER.gid);
  assert.ok(!x.hasxattr('x', NAME));
});

add('stays through chmod, utimensat, link, rename, other xattrs and reading', { root: true, prepare }, () => {
  sys.chmod('x', 0o755);
  sys.utimens('x', 1n, 1n);
  sys.link('x', 'y');
  sys.rename('x', 'z');
  x.setxattr('z', 'user.a', '1');
  content.readFile('z');
  sys.withFd('z', O.RDWR, () => undefined);
  assert.equal(x.getxattr('z', NAME), NET_RAW);
  assert.equal(x.getxattr('y', NAME), NET_RAW);
});

add(
  'works for a program that others run, until it is changed',
  {
    root: true,
    prepare: () => {
      copyFileSync('/bin/cat', 'cat');
      sys.chmod('cat', 0o755);
      x.setxattr('cat', NAME, NET_RAW);
    },
  },
  () => {
    const effective = (): bigint =>
      asUser(OTHER, () => {
        const status = execFileSync(`${process.cwd()}/cat`, ['/proc/self/status'], { encoding: 'utf8' });
        return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
      });
    if (effective() === 0n) throw new Skip('mounted with nosuid, or no capabilities here');
    assert.equal(effective(), 1n << 13n);
    sys.chown('cat', OWNER.uid, -1);
    assert.equal(effective(), 0n);
  },
);
