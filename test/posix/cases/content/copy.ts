import { strict as assert } from 'node:assert';
import * as sys from '../../harness/calls.js';
import * as content from '../../harness/content.js';
import { expectErrno } from '../../harness/expect.js';
import { Family } from '../../harness/family.js';
import { file, folder } from '../../harness/fixtures.js';

export const copy = new Family('copy_file_range');
const { add } = copy;
const { O } = sys;

const prepare = (): void => {
  file('from', { content: '0123456789' });
  file('to', { content: 'abcdefghij' });
  file('empty', { content: '' });
  folder('d');
};

function both<T>(run: (from: number, to: number) => T): T {
  return sys.withFd('from', O.RDWR, (from) => sys.withFd('to', O.RDWR, (to) => run(from, to)));
}

/** All of it: a call may copy less than it is asked to. */
function copyAll(from: number, to: number, length: number): number {
  for (let done = 0; ;) {
    const n = content.copyFileRange(from, to, length - done);
    done += n;
    if (n === 0 || done === length) return done;
  }
}

add('copies at the positions, which move', { prepare }, () => {
  both((from, to) => {
    content.lseek(from, 2, 0);
    content.lseek(to, 5, 0);
    assert.equal(content.copyFileRange(from, to, 3), 3);
    assert.equal(content.lseek(from, 0, 1), 5);
    assert.equal(content.lseek(to, 0, 1), 8);
  });
  assert.equal(content.readFile('to'), 'abcde234ij');
});

add('copies at given offsets, which leave the positions', { prepare }, () => {
  both((from, to) => {
    assert.equal(content.copyFileRange(from, to, 4, 6, 8), 4);
    assert.equal(content.lseek(from, 0, 1), 0);
    assert.equal(content.lseek(to, 0, 1), 0);
  });
  assert.equal(content.readFile('to'), 'abcdefgh6789');
});

add('ends at the end of the source', { prepare }, () => {
  both((from, to) => {
    assert.equal(copyAll(from, to, 1000), 10);
    assert.equal(content.copyFileRange(from, to, 10), 0);
    assert.equal(content.copyFileRange(from, to, 10, 100, 0), 0);
    assert.equal(content.copyFileRange(from, to, 0), 0);
  });
  assert.equal(content.readFile('to'), '0123456789');
});

add('within one file, where the ranges do not meet', { prepare }, () => {
  sys.withFd('from', O.RDWR, (fd) => {
    assert.equal(content.copyFileRange(fd, fd, 3, 0, 7), 3);
    expectErrno('EINVAL', () => content.copyFileRange(fd, fd, 5, 0, 2));
  });
  assert.equal(content.readFile('from'), '0123456012');
});

add(
  'copies large files',
  { prepare: () => (file('from', { content: 'abcdefgh'.repeat(300_000) }), file('to', { content: '' })) },
  () => {
    both((from, to) => assert.equal(copyAll(from, to, 2_400_000), 2_400_000));
    assert.ok(content.readFile('to') === 'abcdefgh'.repeat(300_000));
  },
);

add('to a new file', { prepare }, () => {
  sys.withFd('from', O.RDONLY, (from) =>
    sys.withFd('new', O.WRONLY | O.CREAT, (to) => assert.equal(copyAll(from, to, 10), 10)),
  );
  assert.equal(content.readFile('new'), '0123456789');
});

add('sees what was just written', { prepare }, () => {
  both((from, to) => {
    content.pwrite(from, 'fresh', 0);
    copyAll(from, to, 10);
  });
  assert.equal(content.readFile('to'), 'fresh56789');
});

add('refuses what makes no sense', { prepare }, () => {
  both((from, to) => {
    expectErrno('EINVAL', () => content.copyFileRange(from, to, 5, 0, 0, 1));
    sys.withFd('from', O.WRONLY, (bad) => expectErrno('EBADF', () => content.copyFileRange(bad, to, 5)));
    sys.withFd('to', O.RDONLY, (bad) => expectErrno('EBADF', () => content.copyFileRange(from, bad, 5)));
    sys.withFd('to', O.WRONLY | O.APPEND, (bad) => expectErrno('EBADF', () => content.copyFileRange(from, bad, 5)));
    sys.withFd('d', O.RDONLY, (bad) => expectErrno('EISDIR', () => content.copyFileRange(bad, to, 5)));
    expectErrno('EBADF', () => content.copyFileRange(9999, to, 5));
  });
  assert.equal(content.readFile('to'), 'abcdefghij');
});
